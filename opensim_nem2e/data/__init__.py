"""What is learned from: the trials manifest, the files that it names, and samples cut from them."""

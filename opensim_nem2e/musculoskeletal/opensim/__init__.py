"""musculoskeletal/opensim."""

#!/bin/sh
# A batch of CMC runs in the shell, and what is added to it to refine each result.
#
#   sh batch_cmc.sh [TRIAL ...]      each TRIAL is a folder like ../01_refine_walking, which is also the default

[ $# -gt 0 ] || set -- "$(dirname "$0")/../01_refine_walking"
failed=0

for trial in "$@"; do
    # --- your script: CMC, where it has not been run yet ---
    if [ ! -e "$trial/cmc/walking_states.sto" ]; then
        opensim-cmd run-tool "$trial/setup_cmc.xml" || { failed=$((failed + 1)); continue; }
    fi

    # --- added: refine its activations ---
    opensim-nem2e run "$trial/setup_refine.xml" || failed=$((failed + 1))
done

[ "$failed" -eq 0 ] || { echo "$failed of $# trials failed." >&2; exit 1; }

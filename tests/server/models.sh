#!/bin/sh
# Several models in the memory of one, and a policy that changes while the server runs.
. tests/check.sh
small_model "models"
python3 tests/server/models.py "$hearth" "$model"

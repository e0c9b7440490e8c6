"""The whole system on one machine, for a person to watch: `ops/demo.sh`, `python -m ops.demo`."""

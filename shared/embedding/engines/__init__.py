"""The engines: OpenVINO on a CPU, torch on a GPU and as the reference."""

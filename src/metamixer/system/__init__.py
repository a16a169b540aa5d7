"""The operating system and the hardware: files, memory, instruction sets, devices."""

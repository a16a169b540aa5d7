"""What the operating system and the processor are asked: files, memory, instructions, devices."""

"""What is measured: a suite a file, each with `measure(sheet, ...)`."""

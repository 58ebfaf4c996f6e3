print("Hello from inside the glass case.")

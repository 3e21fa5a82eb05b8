"""What is wrong between objects that are each right by themselves (`across` has all of it)."""

"""From event to message: intake writes rows, the admitter decides which go out, the sender makes messages of them."""

"""Scripts: the edits of an editor as kerasedit code, or the edited model as plain Keras."""

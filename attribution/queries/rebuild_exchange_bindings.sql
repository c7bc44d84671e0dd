-- Put the rebuilt bindings in the place of those that are read, as one step.
exchange tables rebuilt_bindings and bindings

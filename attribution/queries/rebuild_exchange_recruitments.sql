-- Put the rebuilt recruitments in the place of those that are read, as one step.
exchange tables rebuilt_recruitments and recruitments

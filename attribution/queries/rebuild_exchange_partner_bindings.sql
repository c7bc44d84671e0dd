-- Put the rebuilt bindings of partners in the place of those that are read, as one step.
exchange tables rebuilt_partner_bindings and partner_bindings

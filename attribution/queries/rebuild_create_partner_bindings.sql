-- Make a table to fill beside the bindings of partners that are read.
create table rebuilt_partner_bindings as partner_bindings

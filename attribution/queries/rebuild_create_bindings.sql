-- Make a table to fill beside the bindings that are read.
create table rebuilt_bindings as bindings

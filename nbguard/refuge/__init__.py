"""The refuge: everything we kept stays alive outside HOME, and is given back from there when HOME is wiped."""

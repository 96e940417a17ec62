"""Who carries payouts to creators' accounts: banks by files, payment services over HTTP."""

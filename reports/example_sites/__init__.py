"""The two example sites of `lasttouch serve --demo`, LiveChat's and the partner program's, as integrators build them.

They are the worked example of docs/integrate.md. All they know of Lasttouch is what its outside offers: the script
`/linker.js` in their pages, and the Conversions API for their server. They import nothing of it but the wiring in
process.py.

    conversions.py   calls the Conversions API: a token, idempotent ids, and when to try again
    outbox.py        keeps what Lasttouch has to be told until it has taken it
    referral.py      who sent this visitor, as far as this site knows
    livechat.py      the LiveChat site: signup, payments, refunds
    partner_site.py  the partner program's site: joining
"""

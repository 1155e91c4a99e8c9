"""How much room clusters have for the VMs of a plan: reads what `receiver.capacity` judges.

`supply` keeps the free room of nodes, `source` reads what the VMs need, `target` what limits a namespace, `places`
which clusters a plan connects, `words` says an answer in sentences. What could not be read is `Unread` or `Unknown`
with the right that is missing: nothing here raises for what a cluster does.
"""

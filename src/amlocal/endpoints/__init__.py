"""Online endpoints as processes of this machine: scoring servers, and the router in front of them.

Knows nothing of Azure Resource Manager; ``amlocal.workspace`` translates.
"""

"""What a VirtualService's routes come to: requests (`http_routes`, `model.route`) and connections (`connections`,
`model.connection_route`), with every destination resolved and every default written out."""

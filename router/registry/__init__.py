"""Models, versions, routes, replicas and audit in Redis: the only room that speaks Redis and Lua."""

"""Everything that measures for and writes docs/performance.md: three programs (bench, performance_page, app_memory) and what they need."""

"""The mesh (section 3.2), several processes as one run, the allocator and the compilation cache."""

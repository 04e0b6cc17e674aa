"""The study of tied filters under occlusion: what is trained, how the runs go, and what follows from them."""

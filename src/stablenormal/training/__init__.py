"""Training of the four parts: autoencoder, semantic encoder, YOSO and the refiner."""

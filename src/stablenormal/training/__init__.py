"""Training of a model's parts: autoencoder, semantic encoder, upsampler, YOSO (also angular), refiner."""

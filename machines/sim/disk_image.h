/* disk_image.h: the bytes of a simulated disk: an array that grows with zeros. */
#ifndef MACHINES_SIM_DISK_IMAGE_H
#define MACHINES_SIM_DISK_IMAGE_H

#include "prng.h"

#include <stddef.h>
#include <stdint.h>

struct disk_image {
    uint8_t *bytes;
    uint64_t len_bytes, capacity;
};

/* Cuts the image off at len_bytes, or extends it with zeros. */
void image_resize(struct disk_image *image, uint64_t len_bytes);
/* Returns how much of [offset, offset + len_bytes) lies within the image. */
size_t image_trim(const struct disk_image *image, uint64_t offset, size_t len_bytes);
/* Beyond the end it reads zeros, and writes nothing. */
void image_read(const struct disk_image *image, uint64_t offset, void *buf, size_t len_bytes);
void image_write(struct disk_image *image, uint64_t offset, const void *buf, size_t len_bytes);
/* Writes each sector of the bytes with a chance of `permille` in a thousand. */
void image_write_torn(struct disk_image *image, uint64_t offset, const uint8_t *buf, size_t len_bytes,
                      struct prng *prng, uint32_t permille);

#endif

/* disk_image.c: the bytes of a simulated disk (disk_image.h). */
#include "disk_image.h"

#include <stdlib.h>
#include <string.h>

#include "computer.h"
#include "disk.h"

void image_resize(struct disk_image *image, uint64_t len_bytes)
{
    if (image->bytes == NULL && len_bytes > 0) { /* a large disk costs what is written to it */
        image->bytes = calloc(1, len_bytes);
        if (image->bytes == NULL)
            sim_panic("the host has no memory for a disk of %llu bytes", (unsigned long long)len_bytes);
        image->capacity = image->len_bytes = len_bytes;
    } else if (len_bytes > image->capacity) {
        uint64_t capacity = len_bytes > 2 * image->capacity ? len_bytes : 2 * image->capacity;

        image->bytes = realloc(image->bytes, capacity);
        if (image->bytes == NULL)
            sim_panic("the host has no memory for a disk of %llu bytes", (unsigned long long)len_bytes);
        image->capacity = capacity;
    }
    if (len_bytes > image->len_bytes)
        memset(image->bytes + image->len_bytes, 0, len_bytes - image->len_bytes);
    image->len_bytes = len_bytes;
}

size_t image_trim(const struct disk_image *image, uint64_t offset, size_t len_bytes)
{
    if (offset >= image->len_bytes)
        return 0;
    return image->len_bytes - offset < len_bytes ? (size_t)(image->len_bytes - offset) : len_bytes;
}

void image_read(const struct disk_image *image, uint64_t offset, void *buf, size_t len_bytes)
{
    size_t inside = image_trim(image, offset, len_bytes);

    if (inside > 0)
        memcpy(buf, image->bytes + offset, inside);
    memset((char *)buf + inside, 0, len_bytes - inside);
}

void image_write(struct disk_image *image, uint64_t offset, const void *buf, size_t len_bytes)
{
    size_t inside = image_trim(image, offset, len_bytes);

    if (inside > 0)
        memcpy(image->bytes + offset, buf, inside);
}

void image_write_torn(struct disk_image *image, uint64_t offset, const uint8_t *buf, size_t len_bytes,
                      struct prng *prng, uint32_t permille)
{
    for (size_t at = 0; at < len_bytes; at += SIM_SECTOR_SIZE) {
        size_t piece = len_bytes - at < SIM_SECTOR_SIZE ? len_bytes - at : SIM_SECTOR_SIZE;

        if (prng_chance(prng, permille))
            image_write(image, offset + at, buf + at, piece);
    }
}

/* The image of a cluster: which images of its machines belong together, and the frames between them.
 *
 *   DIR/cluster-000001.json   this, written last
 *   DIR/MACHINE/000001/       an image of each machine that ran, as of a machine alone (checkpoint/FORMAT.md)
 *
 * JSON: "format" 1; "machines": NAME -> {"image": folder, "id": the image's} or {"ended": true}; "nets": a list of
 * {"machine", "net" (its number there), "count" (netdev_segment_count), "frames": [{"left_ns", "data" in hex}]}. */
#ifndef LAUNCH_CLUSTER_IMAGE_H
#define LAUNCH_CLUSTER_IMAGE_H

#include <jansson.h>
#include <stdbool.h>

#include "devices/backend.h"
#include "sim-core/status.h"

struct cluster_image {
    json_t *root; /* NULL: nothing in it */
};

void cluster_image_begin(struct cluster_image *im);
void cluster_image_fini(struct cluster_image *im);
/* `path` is the machine's image; NULL: it has ended. */
enum sim_status cluster_image_add_machine(struct cluster_image *im, const char *name, const char *path) SIM_MUST_CHECK;
/* What is under way to network card `number`, which is on a segment. Context: all machines stand. */
void cluster_image_add_net(struct cluster_image *im, const char *machine, unsigned number, struct netdev *n);
/* Writes it as the next one of the directory; *path is its name, for sim_free. Logs why not. */
enum sim_status cluster_image_write(const struct cluster_image *im, const char *dir, char **path) SIM_MUST_CHECK;

/* Removes all such files of the directory but the `keep` newest, and of the machines' images those that no file names, no later image
 * stands on, and that are not newer than all named ones. Logs why not. Context: no image is being made. */
enum sim_status cluster_image_prune(const char *dir, unsigned keep) SIM_MUST_CHECK;

/* `from` is such a file, or a directory: its newest one. Logs what is wrong. *dir is where machines' stores are, for sim_free. */
enum sim_status cluster_image_read(const char *from, struct cluster_image *im, char **dir) SIM_MUST_CHECK;
/* Where the machine's image is, for sim_free; NULL: it has ended. SIM_ERR_FORMAT: it is not in it (logged). */
enum sim_status cluster_image_find(const struct cluster_image *im, const char *dir, const char *name, char **path,
                                   const char **id) SIM_MUST_CHECK;
/* Puts on their way again what was. Context: n has joined its segment, nothing runs. */
enum sim_status cluster_image_load_net(const struct cluster_image *im, const char *machine, unsigned number,
                                       struct netdev *n) SIM_MUST_CHECK;

#endif

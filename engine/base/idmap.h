/*
 * idmap.h - id -> object; ids are not soon reused
 *
 * Anything remembered past a callback is an id looked up again. An id is a slot
 * number and a generation, never 0. Owner thread only.
 */
#ifndef HM_BASE_IDMAP_H
#define HM_BASE_IDMAP_H

#include "base/defs.h"

struct hm_idmap {
	struct hm_idmap_slot *v;
	uint32_t cap, len;
	uint32_t free_head, free_tail; /* private */
};
void hm_idmap_init(struct hm_idmap *m);
void hm_idmap_fini(struct hm_idmap *m);
uint64_t hm_idmap_add(struct hm_idmap *m, void *obj) HM_MUSTCHECK; /* 0 when out of memory */
void *hm_idmap_get(const struct hm_idmap *m, uint64_t id);	   /* NULL when gone */
void *hm_idmap_take(struct hm_idmap *m, uint64_t id);		   /* removes; NULL when gone */

#endif

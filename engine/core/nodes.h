/*
 * nodes.h - who works on this Redis: a line per node in `{<prefix>:ctl}:nodes`
 *
 * A hash: node name -> {"api": "http://10.0.0.7:7700", "at": ms, "version": "0.1.0"}, written by every process each
 * HM_NODES_BEAT_MS. A look-up of a message that another node works on answers with that node's address (api_status.c),
 * and `hermod report --all` asks all of them. The address is node.api_url, or where the API listens if that is one address.
 *
 * Threads: control. Lifetime: start when the ports are known; stop before Redis is closed.
 */
#ifndef HM_CORE_NODES_H
#define HM_CORE_NODES_H

#include "core/engine.h"

#define HM_NODES_BEAT_MS 5000

struct hm_nodes;
struct hm_nodes *hm_nodes_start(struct hm_engine *en, const char *listens); /* NULL: out of memory */
void hm_nodes_stop(struct hm_nodes *n);					    /* NULL is fine */
void hm_nodes_free(struct hm_nodes *n);					    /* when Redis is closed */

#endif

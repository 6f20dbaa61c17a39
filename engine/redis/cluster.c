/*
 * cluster.c - which node owns which slot, and how that knowledge is kept fresh
 *
 * Every node that owns a slot has a link. The map comes from CLUSTER SLOTS, asked
 * of the live nodes in turn; a MOVED answer corrects one slot at once. It is asked
 * for again after a MOVED, a lost link, CLUSTERDOWN, every 100 ms (growing to 1 s)
 * while a slot has no live owner, and every 15 s otherwise.
 *
 * Failover: the link of a dead master goes down, its commands that were sent are
 * lost (HM_ELOST), its slots' other commands park until a map names the new owner
 * and that link is up, or their deadline comes.
 *
 *   node life: seed or found in a map -> owns slots: link runs -> owns none: link stops
 *              after 5 s without use -> in no map and no seed: freed
 *
 * A node not in the map but up (a seed under another name) is kept until then, so
 * that ASK targets and bootstrap nodes do not flap.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "redis/client.h"

#define NS_PER_MS	 1000000u
#define CNODE_MAGIC	 0x636e6f64u
#define CLUSTER_MAGIC	 0x636c7573u
#define SLOTS		 16384u
#define REFRESH_SOON_MS	 30
#define REFRESH_MIN_MS	 100
#define REFRESH_MAX_MS	 1000
#define REFRESH_IDLE_MS	 15000
#define REFRESH_LIMIT_MS 2000 /* for the answer */
#define UNUSED_NS	 (5000ull * NS_PER_MS)
#define NODES_MAX	 1000 /* more is not a Redis Cluster (its specification) but an attack */

struct cnode {
	uint32_t magic;
	struct hm_node node; /* hm_cluster.nodes; unlinked while dying */
	struct hm_cluster *cluster;
	struct hm_redis_addr addr;
	uint32_t slots; /* owned */
	bool seed;
	bool listed; /* in the newest map, as master or replica */
	uint64_t used_ns;
	struct hm_link link;
};

struct hm_cluster {
	uint32_t magic;
	struct hm_redis *r;
	struct hm_list nodes;
	struct cnode *map[SLOTS];
	uint32_t assigned; /* slots with an owner */
	struct hm_timer timer;
	uint32_t refresh_ms;
	size_t turn; /* rotates over the nodes */
	bool asking; /* a CLUSTER SLOTS is under way */
	bool again;  /* and another is wanted */
};

static void on_refresh_timer(struct hm_timer *t);
static void refresh(struct hm_cluster *c);
static const struct hm_link_ops node_ops;

static struct cnode *node_of(struct hm_node *n)
{
	struct cnode *cn = hm_container_of(n, struct cnode, node);

	HM_CHECK(cn, CNODE_MAGIC);
	return cn;
}

static struct cnode *node_of_link(struct hm_link *l)
{
	struct cnode *cn = hm_container_of(l, struct cnode, link);

	HM_CHECK(cn, CNODE_MAGIC);
	return cn;
}

/* -- nodes --------------------------------------------------------------- */

static struct cnode *find_node(struct hm_cluster *c, const struct hm_redis_addr *a)
{
	hm_list_foreach (&c->nodes, n) {
		struct cnode *cn = node_of(n);

		if (cn->addr.port == a->port && strcmp(cn->addr.host, a->host) == 0)
			return cn;
	}
	return NULL;
}

static struct cnode *get_node(struct hm_cluster *c, const struct hm_redis_addr *a)
{
	struct cnode *cn = find_node(c, a);

	if (cn || c->nodes.len >= NODES_MAX)
		return cn;
	cn = calloc(1, sizeof(*cn));
	if (cn == NULL)
		return NULL;
	HM_MAGIC_SET(cn, CNODE_MAGIC);
	cn->cluster = c;
	cn->addr = *a;
	cn->used_ns = c->r->tick->now_ns;
	hm_link_init(&cn->link, &c->r->lo, &node_ops, c->r);
	hm_link_set_tcp(&cn->link, a);
	hm_list_push(&c->nodes, &cn->node);
	c->r->open++;
	return cn;
}

static void drop_node(struct hm_cluster *c, struct cnode *cn)
{
	hm_assert(cn->slots == 0);
	hm_list_remove(&c->nodes, &cn->node);
	hm_link_close(&cn->link); /* node_on_closed frees */
}

static bool covered(const struct hm_cluster *c)
{
	if (c->assigned < SLOTS)
		return false;
	hm_list_foreach (&c->nodes, n) {
		struct cnode *cn = node_of(n);

		if (cn->slots > 0 && !hm_link_up(&cn->link))
			return false;
	}
	return true;
}

/* Stops what has not been needed for a while. */
static void sweep(struct hm_cluster *c)
{
	uint64_t now = c->r->tick->now_ns;

	hm_list_foreach_safe (&c->nodes, n, tmp) {
		struct cnode *cn = node_of(n);

		if (cn->slots > 0 || hm_link_load(&cn->link) > 0 || now - cn->used_ns < UNUSED_NS)
			continue;
		if (cn->seed || cn->listed)
			hm_link_stop(&cn->link);
		else
			drop_node(c, cn);
	}
}

static void update_state(struct hm_cluster *c)
{
	struct hm_redis *r = c->r;
	struct hm_err e = {0};

	if (covered(c)) {
		hm_redis_set_state(r, true, NULL);
		return;
	}
	if (c->assigned == 0) {
		/* nothing known: the reason is why no node answers */
		hm_list_foreach (&c->nodes, n)
			if (node_of(n)->link.why.code)
				e = node_of(n)->link.why;
		if (e.code == 0)
			return; /* the first attempts still run */
	} else if (c->assigned < SLOTS) {
		hm_err_set(&e, HM_EDOWN, "%u of the cluster's 16384 slots have no master",
			   SLOTS - c->assigned);
	} else {
		hm_list_foreach (&c->nodes, n) {
			struct cnode *cn = node_of(n);

			if (cn->slots == 0 || hm_link_up(&cn->link))
				continue;
			if (cn->link.why.code)
				e = cn->link.why;
			else if (!r->up)
				return; /* first connection to a node just found */
			else
				hm_err_set(&e, HM_EDOWN, "no connection to cluster node %s yet",
					   cn->link.name);
			break;
		}
	}
	hm_redis_set_state(r, false, &e);
}

/* -- the map ------------------------------------------------------------- */

static void own(struct hm_cluster *c, uint32_t slot, struct cnode *cn)
{
	struct cnode *old = c->map[slot];

	if (old == cn)
		return;
	if (old)
		old->slots--;
	else
		c->assigned++;
	c->map[slot] = cn;
	if (cn)
		cn->slots++;
	else
		c->assigned--;
}

struct range {
	uint32_t first, last;
	struct hm_redis_addr addr;
};

static bool read_addr(const struct hm_reply *v, const struct hm_link *from, struct hm_redis_addr *a)
{
	const struct hm_reply *host = hm_reply_at(v, 0), *port = hm_reply_at(v, 1);

	if (host == NULL || port == NULL || port->type != HM_REPLY_INT || port->i < 1 || port->i > 65535)
		return false;
	a->port = (uint16_t)port->i;
	/* No name: the node does not know its own, but it answered us under this one. */
	if (host->type == HM_REPLY_NIL || host->s.len == 0 || hm_str_is(host->s, "?")) {
		memcpy(a->host, from->addr.host, sizeof(a->host));
		return true;
	}
	if (host->type != HM_REPLY_STR || host->s.len >= sizeof(a->host) ||
	    memchr(host->s.p, '\0', host->s.len))
		return false;
	memcpy(a->host, host->s.p, host->s.len);
	a->host[host->s.len] = '\0';
	return true;
}

static bool read_range(const struct hm_reply *v, const struct hm_link *from, struct range *g)
{
	const struct hm_reply *first = hm_reply_at(v, 0), *last = hm_reply_at(v, 1);

	if (first == NULL || last == NULL || first->type != HM_REPLY_INT || last->type != HM_REPLY_INT)
		return false;
	if (first->i < 0 || last->i < first->i || last->i >= SLOTS)
		return false;
	g->first = (uint32_t)first->i;
	g->last = (uint32_t)last->i;
	return read_addr(hm_reply_at(v, 2), from, &g->addr);
}

/* False, with nothing changed, when the answer is not a slot map. */
static bool check_map(const struct hm_reply *map, const struct hm_link *from)
{
	struct range g;

	if (map->type != HM_REPLY_ARRAY || map->n == 0 || map->n > SLOTS)
		return false;
	for (size_t i = 0; i < map->n; i++)
		if (!read_range(&map->v[i], from, &g))
			return false;
	return true;
}

static void mark_replicas(struct hm_cluster *c, const struct hm_reply *row, const struct hm_link *from)
{
	struct hm_redis_addr a;
	struct cnode *cn;

	for (size_t i = 3; i < row->n; i++)
		if (read_addr(&row->v[i], from, &a) && (cn = get_node(c, &a)) != NULL)
			cn->listed = true;
}

static void apply_map(struct hm_cluster *c, const struct hm_reply *map, const struct hm_link *from)
{
	uint8_t seen[SLOTS / 8] = {0};

	hm_list_foreach (&c->nodes, n)
		node_of(n)->listed = false;
	for (size_t i = 0; i < map->n; i++) {
		struct cnode *cn;
		struct range g;

		if (!read_range(&map->v[i], from, &g) || (cn = get_node(c, &g.addr)) == NULL)
			continue;
		cn->listed = true;
		for (uint32_t s = g.first; s <= g.last; s++) {
			seen[s / 8] |= (uint8_t)(1u << (s % 8));
			own(c, s, cn);
		}
		mark_replicas(c, &map->v[i], from);
	}
	for (uint32_t s = 0; s < SLOTS; s++)
		if (!(seen[s / 8] & (1u << (s % 8))))
			own(c, s, NULL);
	hm_list_foreach (&c->nodes, n) {
		struct cnode *cn = node_of(n);

		if (cn->slots > 0) {
			cn->used_ns = c->r->tick->now_ns;
			hm_link_start(&cn->link);
		}
	}
	sweep(c);
}

/* -- refreshing ---------------------------------------------------------- */

static void arm(struct hm_cluster *c, uint32_t ms)
{
	hm_timer_start(c->r->tick, &c->timer, ms);
}

static void arm_next(struct hm_cluster *c)
{
	uint64_t seed[2] = {hm_clock_mono_ns(), (uint64_t)(uintptr_t)c};

	if (covered(c)) {
		c->refresh_ms = REFRESH_MIN_MS;
		arm(c,
		    REFRESH_IDLE_MS + (uint32_t)(hm_hash64(seed, sizeof(seed), 1) % (REFRESH_IDLE_MS / 8)));
		return;
	}
	arm(c, c->refresh_ms);
	c->refresh_ms = hm_min(c->refresh_ms * 2, (uint32_t)REFRESH_MAX_MS);
}

static void on_slots(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct cnode *cn = arg;
	struct hm_cluster *c;

	HM_CHECK(cn, CNODE_MAGIC);
	c = cn->cluster;
	c->asking = false;
	if (c->r->closing)
		return;
	if (reply && check_map(reply, &cn->link)) {
		apply_map(c, reply, &cn->link);
		update_state(c);
		hm_redis_route_parked(c->r);
	} else if (reply && reply->type == HM_REPLY_ARRAY && reply->n == 0) {
		HM_DEBUG(REDIS, "cluster node knows no slots", HM_S("addr", cn->link.name));
	} else {
		HM_WARN(REDIS, "no slot map", HM_S("addr", cn->link.name),
			HM_S("error", err ? err->text : "the answer is no slot map"));
	}
	if (c->again) {
		c->again = false;
		arm(c, REFRESH_SOON_MS);
	} else {
		arm_next(c);
	}
}

static struct cnode *nth(struct hm_cluster *c, size_t i)
{
	hm_list_foreach (&c->nodes, n)
		if (i-- == 0)
			return node_of(n);
	return NULL;
}

/* The next node in turn that is up, masters of slots first; NULL when none is. */
static struct cnode *pick_up(struct hm_cluster *c, bool owners_only)
{
	for (size_t i = 0; i < c->nodes.len; i++) {
		struct cnode *cn = nth(c, (c->turn + i) % c->nodes.len);

		if (hm_link_up(&cn->link) && (cn->slots > 0 || !owners_only)) {
			c->turn = (c->turn + i + 1) % c->nodes.len;
			return cn;
		}
	}
	return NULL;
}

/* Nobody to ask: one more of the known nodes is dialled, so that in the end all have been tried. */
static void dial_another(struct hm_cluster *c)
{
	for (size_t i = 0; i < c->nodes.len; i++) {
		struct cnode *cn = nth(c, (c->turn + i) % c->nodes.len);

		if (cn->link.state == HM_LINK_IDLE) {
			c->turn = (c->turn + i + 1) % c->nodes.len;
			cn->used_ns = c->r->tick->now_ns;
			hm_link_start(&cn->link);
			return;
		}
	}
}

static void refresh(struct hm_cluster *c)
{
	static const struct hm_str argv[] = {HM_STR_INIT("CLUSTER"), HM_STR_INIT("SLOTS")};
	struct hm_redis *r = c->r;
	struct cnode *cn;
	struct hm_cmd *cmd;
	uint64_t limit_ms = hm_min(r->lo.command_timeout_ms, (uint32_t)REFRESH_LIMIT_MS);

	if (c->asking) {
		c->again = true;
		return;
	}
	cn = pick_up(c, true);
	if (cn == NULL)
		cn = pick_up(c, false);
	if (cn == NULL) {
		dial_another(c);
		update_state(c);
		arm_next(c);
		return;
	}
	cmd = hm_redis_cmd(r, HM_STR_NULL, argv, 2, on_slots, cn);
	c->asking = true;
	if (cmd == NULL)
		return; /* on_slots hears of it */
	cmd->internal = true;
	cmd->deadline_ns = r->tick->now_ns + limit_ms * NS_PER_MS;
	hm_link_send(&cn->link, cmd);
	hm_timer_stop(r->tick, &c->timer); /* on_slots arms it again */
}

static void on_refresh_timer(struct hm_timer *t)
{
	struct hm_cluster *c = hm_container_of(t, struct hm_cluster, timer);

	HM_CHECK(c, CLUSTER_MAGIC);
	refresh(c);
}

void hm_cluster_refresh_soon(struct hm_redis *r)
{
	struct hm_cluster *c = r->cluster;

	if (r->closing)
		return;
	if (c->asking) {
		c->again = true;
		return;
	}
	if (!hm_timer_armed(&c->timer) ||
	    c->timer.node.key > r->tick->now_ns + (uint64_t)REFRESH_SOON_MS * NS_PER_MS)
		arm(c, REFRESH_SOON_MS);
}

/* -- links --------------------------------------------------------------- */

static void node_on_up(struct hm_link *l)
{
	struct cnode *cn = node_of_link(l);
	struct hm_cluster *c = cn->cluster;

	if (cn->slots == 0 && !covered(c))
		refresh(c); /* a seed or replica, dialled to be asked */
	update_state(c);
	if (cn->slots > 0)
		hm_redis_route_parked(c->r);
}

static void node_on_down(struct hm_link *l, const struct hm_err *why)
{
	struct cnode *cn = node_of_link(l);
	struct hm_cluster *c = cn->cluster;

	update_state(c);
	if (cn->slots > 0 || c->assigned == 0)
		hm_cluster_refresh_soon(c->r);
	/* A node that left the cluster for good need not be tried for ever. */
	if (cn->slots == 0 && c->assigned > 0 && !cn->seed)
		hm_link_stop(l);
}

static void node_on_closed(struct hm_link *l)
{
	struct cnode *cn = hm_container_of(l, struct cnode, link);
	struct hm_redis *r;

	HM_CHECK(cn, CNODE_MAGIC);
	r = cn->cluster->r;
	if (hm_node_linked(&cn->node))
		hm_list_remove(&cn->cluster->nodes, &cn->node);
	HM_MAGIC_CLEAR(cn);
	free(cn);
	hm_redis_unref(r);
}

static const struct hm_link_ops node_ops = {
	.on_up = node_on_up,
	.on_down = node_on_down,
	.on_reply = hm_redis_on_reply,
	.on_lost = hm_redis_on_lost,
	.on_closed = node_on_closed,
};

/* -- what client.c and line.c ask ---------------------------------------- */

struct hm_link *hm_cluster_link(struct hm_redis *r, uint16_t slot)
{
	struct hm_cluster *c = r->cluster;
	struct cnode *cn;

	HM_CHECK(c, CLUSTER_MAGIC);
	if (slot == HM_SLOT_ANY)
		cn = pick_up(c, true);
	else
		cn = c->map[slot];
	return cn && hm_link_up(&cn->link) ? &cn->link : NULL;
}

size_t hm_cluster_load(struct hm_redis *r, uint16_t slot)
{
	struct cnode *cn = slot == HM_SLOT_ANY ? NULL : r->cluster->map[slot];

	return cn ? hm_link_load(&cn->link) : 0;
}

const struct hm_redis_addr *hm_cluster_owner(struct hm_redis *r, uint16_t slot)
{
	struct cnode *cn = slot == HM_SLOT_ANY ? pick_up(r->cluster, true) : r->cluster->map[slot];

	return cn ? &cn->addr : NULL;
}

/* "MOVED 3999 127.0.0.1:6381", "ASK 3999 [::1]:6381" or "... :6381" */
bool hm_cluster_redirect_addr(struct hm_str text, const struct hm_link *from, uint16_t *slot_r,
			      struct hm_redis_addr *a_r)
{
	struct hm_str rest = text, word, slot_text, host;
	uint64_t slot, port;
	size_t colon;

	if (!hm_str_split(&rest, ' ', &word) || !hm_str_split(&rest, ' ', &slot_text) ||
	    !hm_str_u64(slot_text, &slot) || slot >= SLOTS)
		return false;
	for (colon = rest.len; colon > 0 && rest.p[colon - 1] != ':'; colon--)
		;
	if (colon == 0 || !hm_str_u64(hm_str_n(rest.p + colon, rest.len - colon), &port) || port == 0 ||
	    port > 65535)
		return false;
	host = hm_str_n(rest.p, colon - 1);
	if (host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = hm_str_n(host.p + 1, host.len - 2);
	if (host.len == 0 || hm_str_is(host, "?"))
		host = hm_str_c(from->addr.host);
	if (host.len >= sizeof(a_r->host))
		return false;
	memcpy(a_r->host, host.p, host.len);
	a_r->host[host.len] = '\0';
	a_r->port = (uint16_t)port;
	*slot_r = (uint16_t)slot;
	return true;
}

struct hm_link *hm_cluster_link_to(struct hm_redis *r, const struct hm_redis_addr *a)
{
	struct cnode *cn = get_node(r->cluster, a);

	if (cn == NULL)
		return NULL;
	cn->used_ns = r->tick->now_ns;
	hm_link_start(&cn->link);
	return &cn->link;
}

bool hm_cluster_moved(struct hm_redis *r, struct hm_str text, const struct hm_link *from)
{
	struct hm_redis_addr a;
	struct cnode *cn;
	uint16_t slot;

	if (!hm_cluster_redirect_addr(text, from, &slot, &a) || (cn = get_node(r->cluster, &a)) == NULL)
		return false;
	own(r->cluster, slot, cn);
	cn->used_ns = r->tick->now_ns;
	hm_link_start(&cn->link);
	hm_cluster_refresh_soon(r);
	return true;
}

/* -- birth and end ------------------------------------------------------- */

int hm_cluster_open(struct hm_redis *r, struct hm_err *e)
{
	struct hm_cluster *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory for the cluster's slot map");
	HM_MAGIC_SET(c, CLUSTER_MAGIC);
	c->r = r;
	c->refresh_ms = REFRESH_MIN_MS;
	hm_list_init(&c->nodes);
	hm_timer_init(&c->timer, on_refresh_timer);
	r->cluster = c;
	for (size_t i = 0; i < r->url.nseeds; i++) {
		struct cnode *cn = get_node(c, &r->url.seeds[i]);

		if (cn == NULL)
			return hm_err_set(e, HM_ENOMEM, "out of memory for the cluster's nodes");
		cn->seed = true;
	}
	dial_another(c);
	arm(c, c->refresh_ms);
	return 0;
}

void hm_cluster_close(struct hm_redis *r)
{
	struct hm_cluster *c = r->cluster;

	hm_timer_stop(r->tick, &c->timer);
	hm_list_foreach_safe (&c->nodes, n, tmp)
		hm_link_close(&node_of(n)->link);
}

/* Also after a half-made open: links that never started have nothing to close. */
void hm_cluster_free(struct hm_redis *r)
{
	struct hm_cluster *c = r->cluster;
	struct hm_node *n;

	if (c == NULL)
		return;
	hm_timer_stop(r->tick, &c->timer);
	while ((n = hm_list_pop(&c->nodes)) != NULL)
		free(node_of(n));
	HM_MAGIC_CLEAR(c);
	free(c);
	r->cluster = NULL;
}

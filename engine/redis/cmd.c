/*
 * cmd.c - command objects and the segments that hold their bytes
 *
 *   segment:  [ head | *3..$4..XADD.. | *2..GET.. | free      ]
 *                      ^ cmd->p         ^ next cmd  ^ used
 */
#include "redis/cmd.h"

#include <stdlib.h>

struct hm_segment {
	uint32_t refs; /* commands in it, plus one while it is the tail */
	bool pooled;
	size_t used, cap;
	char bytes[];
};

static const struct {
	enum hm_cmd_why why;
	const char *text;
} sentences[] = {
	{HM_CMD_WHY_NONE, ""},
	{HM_CMD_WHY_DOWN, "Redis cannot be reached"},
	{HM_CMD_WHY_FULL, "too many commands wait for Redis already"},
	{HM_CMD_WHY_BYTES, "too many bytes wait for Redis already"},
	{HM_CMD_WHY_TOO_LARGE, "the command is larger than a command may be"},
	{HM_CMD_WHY_MEMORY, "out of memory for a Redis command"},
	{HM_CMD_WHY_CLOSED, "the Redis client is closed"},
	{HM_CMD_WHY_REDIRECTS, "the cluster sent the command from node to node too often"},
	{HM_CMD_WHY_TRYAGAIN, "the cluster answered TRYAGAIN until the time limit"},
	{HM_CMD_WHY_CLUSTERDOWN, "the cluster answered CLUSTERDOWN until the time limit"},
	{HM_CMD_WHY_READONLY, "Redis is a read-only replica, and no master took over within the time limit"},
	{HM_CMD_WHY_LOADING, "Redis is loading its data set and did not finish within the time limit"},
	{HM_CMD_WHY_MASTERDOWN, "Redis is a replica without its master, and none came within the time limit"},
	{HM_CMD_WHY_NOAUTH, "Redis wants a password"},
	{HM_CMD_WHY_LINE_DOWN, "the line to Redis has no connection now"},
	{HM_CMD_WHY_LINE_MOVED, "the key has moved to another cluster node; the line follows it"},
	{HM_CMD_WHY_UNBLOCKED, "the server unblocked the command because its role changed"},
};

const char *hm_cmd_why_text(enum hm_cmd_why why)
{
	for (size_t i = 0; i < hm_countof(sentences); i++)
		if (sentences[i].why == why)
			return sentences[i].text;
	return "";
}

int hm_cmds_init(struct hm_cmds *cs)
{
	memset(cs, 0, sizeof(*cs));
	hm_slab_init(&cs->objects, "redis commands", sizeof(struct hm_cmd), 0);
	hm_slab_init(&cs->segments, "redis segments", HM_CMD_SEGMENT, 0);
	hm_list_init(&cs->reserve);
	for (int i = 0; i < HM_CMD_RESERVE; i++) {
		struct hm_cmd *c = hm_slab_alloc(&cs->objects);

		if (c == NULL) {
			hm_cmds_fini(cs);
			return HM_ENOMEM;
		}
		hm_node_init(&c->node);
		hm_list_push(&cs->reserve, &c->node);
	}
	return 0;
}

static void segment_unref(struct hm_cmds *cs, struct hm_segment *s)
{
	if (--s->refs > 0)
		return;
	if (s->pooled)
		hm_slab_free(&cs->segments, s);
	else
		free(s);
}

void hm_cmds_fini(struct hm_cmds *cs)
{
	struct hm_node *n;

	if (cs->tail)
		segment_unref(cs, cs->tail);
	cs->tail = NULL;
	while ((n = hm_list_pop(&cs->reserve)) != NULL)
		hm_slab_free(&cs->objects, hm_container_of(n, struct hm_cmd, node));
	hm_slab_fini(&cs->objects);
	hm_slab_fini(&cs->segments);
}

static struct hm_segment *segment_new(struct hm_cmds *cs, size_t need)
{
	size_t room = HM_CMD_SEGMENT - sizeof(struct hm_segment);
	bool pooled = need <= room;
	struct hm_segment *s = pooled ? hm_slab_alloc(&cs->segments) : malloc(sizeof(*s) + need);

	if (s)
		*s = (struct hm_segment){.refs = 0, .pooled = pooled, .cap = pooled ? room : need};
	return s;
}

/* Room for n bytes in a segment; NULL when out of memory. The caller becomes one of its references. */
static char *segment_take(struct hm_cmds *cs, size_t n, struct hm_segment **seg_r)
{
	struct hm_segment *s = cs->tail;

	if (s && s->refs == 1) /* nobody but us: start over instead of taking a new one */
		s->used = 0;
	if (s == NULL || s->cap - s->used < n) {
		s = segment_new(cs, n);
		if (s == NULL)
			return NULL;
		if (s->pooled) {
			if (cs->tail)
				segment_unref(cs, cs->tail);
			cs->tail = s;
			s->refs = 1;
		}
	}
	s->refs++;
	s->used += n;
	*seg_r = s;
	return s->bytes + s->used - n;
}

static size_t digits(size_t v)
{
	size_t n = 1;

	for (; v > 9; v /= 10)
		n++;
	return n;
}

static char *put_head(char *p, char type, size_t v, size_t ndigits)
{
	*p = type;
	for (size_t i = ndigits; i > 0; i--, v /= 10)
		p[i] = (char)('0' + v % 10);
	p[ndigits + 1] = '\r';
	p[ndigits + 2] = '\n';
	return p + ndigits + 3;
}

static char *put_arg(char *p, struct hm_str s)
{
	p = put_head(p, '$', s.len, digits(s.len));
	if (s.len)
		memcpy(p, s.p, s.len);
	p += s.len;
	*p++ = '\r';
	*p++ = '\n';
	return p;
}

static size_t arg_bytes(size_t len)
{
	return 1 + digits(len) + 2 + len + 2;
}

static bool refuse(struct hm_cmd *c, int code, enum hm_cmd_why why)
{
	c->code = code;
	c->why = (uint8_t)why;
	return false;
}

/* Gives c room for n bytes. */
static char *reserve_bytes(struct hm_cmds *cs, struct hm_cmd *c, size_t n)
{
	struct hm_segment *seg;
	char *p;

	if (n > HM_CMD_MAX_BYTES) {
		refuse(c, HM_ELIMIT, HM_CMD_WHY_TOO_LARGE);
		return NULL;
	}
	if (cs->bytes + n > HM_CMDS_MAX) {
		refuse(c, HM_EAGAIN, HM_CMD_WHY_BYTES);
		return NULL;
	}
	p = segment_take(cs, n, &seg);
	if (p == NULL) {
		refuse(c, HM_ENOMEM, HM_CMD_WHY_MEMORY);
		return NULL;
	}
	c->seg = seg;
	c->p = p;
	c->len = n;
	cs->bytes += n;
	return p;
}

static void release_bytes(struct hm_cmds *cs, struct hm_segment *seg, size_t n)
{
	if (seg == NULL)
		return;
	hm_assert(cs->bytes >= n);
	cs->bytes -= n;
	segment_unref(cs, seg);
}

struct hm_cmd *hm_cmd_new(struct hm_cmds *cs, const struct hm_str *argv, size_t argc)
{
	struct hm_cmd *c = hm_slab_alloc(&cs->objects);
	bool poor = c == NULL;
	size_t n = 1 + digits(argc) + 2;
	char *p;

	if (poor) {
		struct hm_node *spare = hm_list_pop(&cs->reserve);

		if (spare == NULL)
			hm_panic(__FILE__, __LINE__, __func__, "no memory even to report that there is none");
		c = hm_container_of(spare, struct hm_cmd, node);
	}
	*c = (struct hm_cmd){.magic = HM_CMD_MAGIC, .slot = HM_SLOT_ANY, .deadline_ns = HM_CMD_NO_LIMIT};
	if (poor) {
		refuse(c, HM_ENOMEM, HM_CMD_WHY_MEMORY);
		return c;
	}
	for (size_t i = 0; i < argc; i++) {
		if (argv[i].len > HM_CMD_MAX_BYTES) {
			refuse(c, HM_ELIMIT, HM_CMD_WHY_TOO_LARGE);
			return c;
		}
		n += arg_bytes(argv[i].len);
	}
	p = reserve_bytes(cs, c, n);
	if (p == NULL)
		return c;
	p = put_head(p, '*', argc, digits(argc));
	for (size_t i = 0; i < argc; i++)
		p = put_arg(p, argv[i]);
	hm_assert(p == c->p + c->len);
	return c;
}

void hm_cmd_free(struct hm_cmds *cs, struct hm_cmd *c)
{
	HM_CHECK(c, HM_CMD_MAGIC);
	hm_assert(!hm_node_linked(&c->node));
	release_bytes(cs, c->seg, c->len);
	HM_MAGIC_CLEAR(c);
	if (cs->reserve.len < HM_CMD_RESERVE) {
		hm_list_push(&cs->reserve, &c->node);
		return;
	}
	hm_slab_free(&cs->objects, c);
}

/* "*5|$7 EVALSHA|$40 <sha>|rest" becomes "*5|$4 EVAL|$n <source>|rest". */
bool hm_cmd_make_eval(struct hm_cmds *cs, struct hm_cmd *c)
{
	struct hm_str source = hm_str_c(c->script->source);
	const char *head_end = memchr(c->p, '\n', c->len);
	struct hm_segment *old = c->seg;
	const char *from = c->p;
	size_t old_len = c->len, head, skipped, rest;
	char *p;

	hm_assert(head_end != NULL);
	head = (size_t)(head_end - c->p) + 1;
	skipped = head + arg_bytes(7) + arg_bytes(40);
	hm_assert(skipped <= c->len);
	rest = c->len - skipped;
	p = reserve_bytes(cs, c, head + arg_bytes(4) + arg_bytes(source.len) + rest);
	if (p == NULL)
		return false;
	memcpy(p, from, head);
	p = put_arg(p + head, HM_STR("EVAL"));
	p = put_arg(p, source);
	memcpy(p, from + skipped, rest);
	release_bytes(cs, old, old_len);
	c->script = NULL;
	return true;
}

/*
 * reply.c - hiredis' reader with an arena under it
 */
#include "redis/reply.h"

#include <hiredis/read.h>

#include "base/obj.h"

static struct hm_reader *owner(const redisReadTask *task)
{
	struct hm_reader *rd = task->privdata;

	HM_CHECK(rd, HM_READER_MAGIC);
	return rd;
}

/* Where the element a task stands for is to be written. */
static struct hm_reply *place(const redisReadTask *task)
{
	struct hm_reply *parent = task->parent ? task->parent->obj : NULL;

	return parent ? &parent->v[task->idx] : &owner(task)->root;
}

static void *create_string(const redisReadTask *task, char *p, size_t len)
{
	struct hm_reader *rd = owner(task);
	struct hm_reply *r = place(task);
	char *copy = hm_arena_alloc(&rd->arena, len + 1);

	if (copy == NULL) {
		rd->too_big = true;
		return NULL;
	}
	memcpy(copy, p, len);
	copy[len] = '\0';
	*r = (struct hm_reply){.type = HM_REPLY_STR, .s = hm_str_n(copy, len)};
	if (task->type == REDIS_REPLY_STATUS)
		r->type = HM_REPLY_STATUS;
	else if (task->type == REDIS_REPLY_ERROR)
		r->type = HM_REPLY_ERROR;
	return r;
}

static void *create_array(const redisReadTask *task, int elements)
{
	struct hm_reader *rd = owner(task);
	struct hm_reply *r = place(task);
	struct hm_reply *v = NULL;

	if (elements > 0) {
		v = hm_arena_alloc(&rd->arena, (size_t)elements * sizeof(*v));
		if (v == NULL) {
			rd->too_big = true;
			return NULL;
		}
	}
	*r = (struct hm_reply){.type = HM_REPLY_ARRAY, .v = v, .n = elements > 0 ? (size_t)elements : 0};
	return r;
}

static void *create_integer(const redisReadTask *task, long long i)
{
	struct hm_reply *r = place(task);

	*r = (struct hm_reply){.type = HM_REPLY_INT, .i = i};
	return r;
}

static void *create_nil(const redisReadTask *task)
{
	struct hm_reply *r = place(task);

	*r = (struct hm_reply){.type = HM_REPLY_NIL};
	return r;
}

static void free_object(void *obj)
{
	/* the arena frees */
}

static redisReplyObjectFunctions functions = {
	.createString = create_string,
	.createArray = create_array,
	.createInteger = create_integer,
	.createNil = create_nil,
	.freeObject = free_object,
};

/* A tree is larger than its bytes: 48 bytes a slot, and the rest of a block that the next string did not fit. */
static size_t tree_limit(const struct hm_reader *rd)
{
	return 2 * rd->max_bytes + HM_REPLY_BLOCK;
}

static int open_reader(struct hm_reader *rd)
{
	rd->r = redisReaderCreateWithFunctions(&functions);
	if (rd->r == NULL)
		return HM_ENOMEM;
	rd->r->privdata = rd;
	/* hiredis throws its buffer away whenever it is empty and larger than this; the
	 * default (16 KiB) would mean a malloc per read. */
	rd->r->maxbuf = HM_REPLY_KEEP_BYTES;
	rd->fed = 0;
	rd->dirty = rd->too_big = false;
	return 0;
}

int hm_reader_init(struct hm_reader *rd, size_t max_bytes)
{
	memset(rd, 0, sizeof(*rd));
	HM_MAGIC_SET(rd, HM_READER_MAGIC);
	rd->max_bytes = max_bytes ? max_bytes : HM_REPLY_MAX_BYTES;
	hm_slab_init(&rd->blocks, "redis replies", HM_REPLY_BLOCK, 0);
	hm_arena_init(&rd->arena, &rd->blocks, tree_limit(rd));
	return open_reader(rd);
}

void hm_reader_fini(struct hm_reader *rd)
{
	HM_CHECK(rd, HM_READER_MAGIC);
	if (rd->r)
		redisReaderFree(rd->r);
	rd->r = NULL;
	hm_arena_fini(&rd->arena);
	hm_slab_fini(&rd->blocks);
	HM_MAGIC_CLEAR(rd);
}

static void drop_tree(struct hm_reader *rd)
{
	if (rd->arena.used > HM_REPLY_KEEP_BYTES) {
		hm_arena_fini(&rd->arena);
		hm_slab_fini(&rd->blocks);
		hm_slab_init(&rd->blocks, "redis replies", HM_REPLY_BLOCK, 0);
		hm_arena_init(&rd->arena, &rd->blocks, tree_limit(rd));
	} else {
		hm_arena_reset(&rd->arena);
	}
	rd->dirty = false;
}

int hm_reader_reset(struct hm_reader *rd)
{
	HM_CHECK(rd, HM_READER_MAGIC);
	if (rd->r)
		redisReaderFree(rd->r);
	drop_tree(rd);
	return open_reader(rd);
}

int hm_reader_feed(struct hm_reader *rd, const void *p, size_t n, struct hm_err *e)
{
	HM_CHECK(rd, HM_READER_MAGIC);
	rd->fed += n;
	if (redisReaderFeed(rd->r, p, n) != REDIS_OK)
		return hm_err_set(e, HM_EPROTO, "unreadable answer: %s", rd->r->errstr);
	return 0;
}

/* A line that does not end is not worth waiting for: hiredis rescans it with every read. */
static int check_unfinished(const struct hm_reader *rd, struct hm_err *e)
{
	size_t left = rd->r->len - rd->r->pos;

	if (rd->fed > rd->max_bytes)
		return hm_err_set(e, HM_ELIMIT, "an answer is larger than %zu bytes", rd->max_bytes);
	if (left > HM_REPLY_MAX_LINE) {
		/* The type byte has been eaten; a bulk string may be long, its length line not. */
		bool bulk = rd->r->ridx >= 0 && rd->r->rstack[rd->r->ridx].type == REDIS_REPLY_STRING;

		if (!bulk || memchr(rd->r->buf + rd->r->pos, '\r', 32) == NULL)
			return hm_err_set(e, HM_EPROTO, "an answer has a line longer than %u bytes",
					  HM_REPLY_MAX_LINE);
	}
	return 0;
}

int hm_reader_next(struct hm_reader *rd, const struct hm_reply **reply_r, struct hm_err *e)
{
	void *obj = NULL;

	HM_CHECK(rd, HM_READER_MAGIC);
	if (rd->dirty)
		drop_tree(rd);
	if (redisReaderGetReply(rd->r, &obj) != REDIS_OK) {
		if (rd->too_big)
			return hm_err_set(e, HM_ELIMIT, "an answer is larger than %zu bytes", rd->max_bytes);
		return hm_err_set(e, HM_EPROTO, "unreadable answer: %s", rd->r->errstr);
	}
	if (obj == NULL)
		return check_unfinished(rd, e);
	hm_assert(obj == &rd->root);
	rd->fed = rd->r->len - rd->r->pos;
	rd->dirty = true;
	*reply_r = &rd->root;
	return 1;
}

const struct hm_reply *hm_reply_at(const struct hm_reply *r, size_t i)
{
	return r && r->type == HM_REPLY_ARRAY && i < r->n ? &r->v[i] : NULL;
}

bool hm_reply_is(const struct hm_reply *r, const char *status)
{
	return r && r->type == HM_REPLY_STATUS && hm_str_is(r->s, status);
}

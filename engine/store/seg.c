/*
 * seg.c - segments: files, images, single records
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/obj.h"
#include "store/pack.h"
#include "store/seg.h"

struct hm_seg *hm_seg_new(uint64_t seq)
{
	struct hm_seg *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	HM_MAGIC_SET(s, HM_SEG_MAGIC);
	s->refs = 1;
	s->seq = seq;
	s->log_fd = -1;
	return s;
}

struct hm_seg *hm_seg_ref(struct hm_seg *s)
{
	HM_CHECK(s, HM_SEG_MAGIC);
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void hm_seg_unref(struct hm_seg *s)
{
	if (s == NULL)
		return;
	HM_CHECK(s, HM_SEG_MAGIC);
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (s->log_fd >= 0)
		close(s->log_fd);
	hm_mem_free(s->mem);
	hm_idx_free(s->idx);
	HM_MAGIC_CLEAR(s);
	free(s);
}

struct hm_seglist *hm_seglist_new(size_t n)
{
	struct hm_seglist *l = calloc(1, sizeof(*l) + n * sizeof(l->v[0]));

	if (l) {
		l->refs = 1;
		l->n = n;
	}
	return l;
}

void hm_seglist_unref(struct hm_seglist *l)
{
	if (l == NULL || __atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (size_t i = 0; i < l->n; i++)
		hm_seg_unref(l->v[i]);
	free(l);
}

const char *hm_seg_path(const char *dir, uint64_t seq, enum hm_seg_file f, char out[HM_SEG_PATH])
{
	static const char *const ext[] = {[HM_SEG_LOG] = "log", [HM_SEG_PACK] = "pack", [HM_SEG_IDX] = "idx"};

	hm_assert(snprintf(out, HM_SEG_PATH, "%s/%016" PRIu64 ".%s", dir, seq, ext[f]) < HM_SEG_PATH);
	return out;
}

void hm_seg_unlink(const char *dir, uint64_t seq)
{
	char path[HM_SEG_PATH];

	unlink(hm_seg_path(dir, seq, HM_SEG_LOG, path));
	unlink(hm_seg_path(dir, seq, HM_SEG_PACK, path));
	unlink(hm_seg_path(dir, seq, HM_SEG_IDX, path));
}

int hm_pread_all(int fd, void *p, size_t n, uint64_t off)
{
	char *to = p;

	while (n) {
		ssize_t r = pread(fd, to, n, (off_t)off);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return HM_EIO;
		if (r == 0)
			return HM_ESTORE;
		to += r;
		off += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

/* The log, or else the pack; the log goes only after its pack has come. */
static int open_data(const char *dir, uint64_t seq, bool *packed_r)
{
	char path[HM_SEG_PATH];
	int fd = open(hm_seg_path(dir, seq, HM_SEG_LOG, path), O_RDONLY | O_CLOEXEC);

	*packed_r = false;
	if (fd < 0 && errno == ENOENT) {
		fd = open(hm_seg_path(dir, seq, HM_SEG_PACK, path), O_RDONLY | O_CLOEXEC);
		*packed_r = true;
	}
	return fd;
}

static int image_of_log(int fd, char **bytes_r, size_t *len_r)
{
	struct stat st;
	size_t got = 0;
	char *p;

	if (fstat(fd, &st) < 0)
		return HM_EIO;
	p = malloc((size_t)st.st_size + 1);
	if (p == NULL)
		return HM_ENOMEM;
	while (got < (size_t)st.st_size) { /* it may be cut shorter meanwhile */
		ssize_t r = pread(fd, p + got, (size_t)st.st_size - got, (off_t)got);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			free(p);
			return HM_EIO;
		}
		if (r == 0)
			break;
		got += (size_t)r;
	}
	*bytes_r = p;
	*len_r = got;
	return 0;
}

static int image_of_pack(int fd, uint64_t seq, char **bytes_r, size_t *len_r)
{
	struct hm_pack_info info;
	int rc = hm_pack_info(fd, &info);
	size_t len = 0;
	char *p;

	if (rc < 0 || info.seq != seq || info.raw_len > HM_FRAME_MAX * 4ull)
		return rc < 0 ? rc : HM_ESTORE;
	p = malloc(((size_t)info.n_blocks + 1) * HM_PACK_BLOCK);
	if (p == NULL)
		return HM_ENOMEM;
	for (uint32_t b = 0; rc == 0 && b < info.n_blocks; b++) {
		size_t n = 0;

		rc = hm_pack_block(fd, &info, b, p + len, &n);
		len += n;
	}
	if (rc < 0) {
		free(p);
		return rc;
	}
	*bytes_r = p;
	*len_r = len;
	return 0;
}

int hm_seg_image(const char *dir, uint64_t seq, char **bytes_r, size_t *len_r, struct hm_err *e)
{
	bool packed;
	int fd = open_data(dir, seq, &packed), rc;

	if (fd < 0)
		return hm_err_set(e, errno == ENOENT ? HM_ENOENT : HM_EIO,
				  "cannot open ledger segment %" PRIu64 ": %s", seq, strerror(errno));
	rc = packed ? image_of_pack(fd, seq, bytes_r, len_r) : image_of_log(fd, bytes_r, len_r);
	close(fd);
	if (rc < 0)
		hm_err_set(e, rc, "cannot read ledger segment %" PRIu64 ": %s", seq,
			   rc == HM_ESTORE   ? "it is damaged"
			   : rc == HM_ENOMEM ? "out of memory"
					     : strerror(errno));
	return rc;
}

int hm_seg_walk(struct hm_str image, hm_seg_record_fn fn, void *arg, size_t *end_r, uint64_t *last_ms_r)
{
	size_t at = 0, n;
	struct hm_frame f;

	while ((n = hm_frame_read(hm_str_n(image.p + at, image.len - at), &f)) > 0) {
		size_t off = 0, base = at + HM_FRAME_HEAD;
		uint32_t seen = 0;

		for (; f.kind == HM_FRAME_RECORDS && off < f.payload.len; seen++) {
			struct hm_rec r;
			int rc = hm_rec_scan(f.payload, off, &r);

			if (rc == 0)
				rc = fn(arg, &r, (uint32_t)(base + off), f.payload);
			if (rc < 0)
				return rc;
			off += r.len;
		}
		if (f.kind == HM_FRAME_RECORDS && seen != f.n)
			return HM_ESTORE;
		*last_ms_r = hm_max(*last_ms_r, f.wall_ms);
		at += n;
	}
	*end_r = at;
	return 0;
}

/* -- single records --------------------------------------------------------------- */

void hm_seg_reader_init(struct hm_seg_reader *r, const char *dir)
{
	memset(r, 0, sizeof(*r));
	r->dir = dir;
}

static void slot_close(struct hm_seg_reader_slot *s)
{
	if (s->seq)
		close(s->fd);
	free(s->bytes);
	memset(s, 0, sizeof(*s));
}

void hm_seg_reader_fini(struct hm_seg_reader *r)
{
	for (size_t i = 0; i < hm_countof(r->slot); i++)
		slot_close(&r->slot[i]);
}

static int slot_open(struct hm_seg_reader *r, uint64_t seq, struct hm_seg_reader_slot **s_r)
{
	struct hm_seg_reader_slot *s;
	struct hm_pack_info info = {0, 0, 0};
	int rc = 0;

	for (size_t i = 0; i < hm_countof(r->slot); i++)
		if (r->slot[i].seq == seq) {
			*s_r = &r->slot[i];
			return 0;
		}
	s = &r->slot[r->next++ % hm_countof(r->slot)];
	slot_close(s);
	s->fd = open_data(r->dir, seq, &s->packed);
	if (s->fd < 0)
		return errno == ENOENT ? HM_ENOENT : HM_EIO;
	s->seq = seq;
	s->block = UINT32_MAX;
	if (s->packed) {
		rc = hm_pack_info(s->fd, &info);
		s->bytes = malloc(HM_PACK_BLOCK);
		if (rc == 0 && s->bytes == NULL)
			rc = HM_ENOMEM;
		s->n_blocks = info.n_blocks;
		s->raw_len = info.raw_len;
	}
	if (rc < 0)
		slot_close(s);
	*s_r = s;
	return rc;
}

static int slot_read(struct hm_seg_reader_slot *s, void *out, size_t n, uint64_t off)
{
	const struct hm_pack_info info = {s->seq, s->raw_len, s->n_blocks};
	char *to = out;

	if (!s->packed)
		return hm_pread_all(s->fd, out, n, off);
	while (n) {
		uint64_t b = off / HM_PACK_BLOCK;
		size_t in = (size_t)(off % HM_PACK_BLOCK), part;

		if (b >= s->n_blocks)
			return HM_ESTORE;
		if (s->block != (uint32_t)b) {
			int rc;

			s->block = UINT32_MAX;
			rc = hm_pack_block(s->fd, &info, (uint32_t)b, s->bytes, &s->bytes_len);
			if (rc < 0)
				return rc;
			s->block = (uint32_t)b;
		}
		if (in >= s->bytes_len)
			return HM_ESTORE;
		part = hm_min(n, s->bytes_len - in);
		memcpy(to, s->bytes + in, part);
		to += part;
		off += part;
		n -= part;
	}
	return 0;
}

int hm_seg_reader_get(struct hm_seg_reader *r, const struct hm_seg *seg, uint32_t off, struct hm_arena *a,
		      struct hm_str *rec_r, struct hm_err *e)
{
	uint64_t end = __atomic_load_n(&seg->end, __ATOMIC_ACQUIRE);
	struct hm_seg_reader_slot *s;
	char head[256], *p;
	size_t n = 0;
	uint32_t len;
	int rc = HM_ESTORE;

	if ((uint64_t)off + HM_REC_HEAD > end)
		goto bad;
	rc = slot_open(r, seg->seq, &s);
	if (rc < 0)
		goto bad;
	n = (size_t)hm_min((uint64_t)sizeof(head), end - off);
	rc = slot_read(s, head, n, off);
	if (rc < 0)
		goto bad;
	len = hm_le32(head) + 4;
	rc = HM_ESTORE;
	if (len < HM_REC_HEAD || len > HM_REC_MAX || (uint64_t)off + len > end)
		goto bad;
	p = hm_arena_alloc(a, len);
	rc = HM_ENOMEM;
	if (p == NULL)
		goto bad;
	memcpy(p, head, hm_min(n, (size_t)len));
	rc = len > n ? slot_read(s, p + n, len - n, off + n) : 0;
	if (rc < 0)
		goto bad;
	*rec_r = hm_str_n(p, len);
	return 0;
bad:
	return hm_err_set(e, rc, "cannot read record %u of ledger segment %" PRIu64 ": %s", off, seg->seq,
			  hm_err_name(rc));
}

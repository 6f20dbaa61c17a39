/*
 * inflight.c - the mapped table of ids that have left
 */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/obj.h"
#include "dispatch/inflight.h"

#define FILE_MAGIC     "HMINFL1\n"
#define HEADER_BYTES   64
#define OLD_MAX_MS     (48u * 3600u * 1000u) /* an id older than this cannot be redelivered any more */
#define RUNS_MAX       16 /* of one id; so that dying again and again does not fill the disk */
#define INFLIGHT_MAGIC 0x696e666cu

struct hm_inflight_old {
	struct hm_ulid *v; /* sorted */
	size_t n;
};

struct hm_inflight {
	uint32_t magic;
	int fd;
	uint8_t *map;
	size_t bytes;
	struct hm_ulid *slots;
	uint32_t n, n_free;
	uint32_t *free_list;
};

static const struct hm_ulid zero;

static int by_id(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct hm_ulid));
}

static int read_table(const char *path, struct hm_ulid **v, size_t *n, size_t *cap, uint64_t oldest_ms)
{
	FILE *f = fopen(path, "rb");
	char head[HEADER_BYTES];
	struct hm_ulid id;

	if (f == NULL)
		return errno == ENOENT ? 0 : -1;
	if (fread(head, 1, sizeof(head), f) != sizeof(head) || memcmp(head, FILE_MAGIC, 8) != 0) {
		fclose(f);
		return 0;
	}
	while (fread(id.b, 1, sizeof(id.b), f) == sizeof(id.b)) {
		if (hm_ulid_eq(&id, &zero) || hm_ulid_ms(&id) < oldest_ms)
			continue;
		if (*n == *cap) {
			size_t c = *cap ? *cap * 2 : 1024;
			struct hm_ulid *p = realloc(*v, c * sizeof(*p));

			if (p == NULL) {
				fclose(f);
				return -1;
			}
			*v = p;
			*cap = c;
		}
		(*v)[(*n)++] = id;
	}
	fclose(f);
	return 0;
}

static int write_old(const char *path, const struct hm_inflight_old *old, struct hm_err *e)
{
	char tmp[4200], head[HEADER_BYTES] = FILE_MAGIC;
	FILE *f;

	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	f = fopen(tmp, "wb");
	if (f == NULL)
		return hm_err_set(e, HM_EIO, "cannot write %s: %s", tmp, strerror(errno));
	if (fwrite(head, 1, sizeof(head), f) != sizeof(head) ||
	    (old->n > 0 && fwrite(old->v, sizeof(*old->v), old->n, f) != old->n) || fflush(f) != 0 ||
	    fsync(fileno(f)) != 0) {
		fclose(f);
		return hm_err_set(e, HM_EIO, "cannot write %s: %s", tmp, strerror(errno));
	}
	fclose(f);
	if (rename(tmp, path) != 0)
		return hm_err_set(e, HM_EIO, "cannot rename %s: %s", tmp, strerror(errno));
	return 0;
}

int hm_inflight_load(struct hm_str data_dir, struct hm_inflight_old **old_r, struct hm_err *e)
{
	struct hm_inflight_old *old = calloc(1, sizeof(*old));
	uint64_t now = hm_clock_wall_ms();
	uint64_t oldest = now > OLD_MAX_MS ? now - OLD_MAX_MS : 0;
	char path[4096], dir[3800];
	size_t cap = 0, k = 0;
	struct dirent *de;
	DIR *dp;
	int r = 0;

	if (old == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	snprintf(dir, sizeof(dir), "%.*s", HM_STRF(data_dir));
	dp = opendir(dir);
	if (dp == NULL) {
		free(old);
		return hm_err_set(e, HM_EIO, "cannot read the data directory %s: %s", dir, strerror(errno));
	}
	while (r == 0 && (de = readdir(dp)) != NULL) {
		if (strncmp(de->d_name, "inflight.", 9) != 0 || strstr(de->d_name, ".tmp") != NULL)
			continue;
		snprintf(path, sizeof(path), "%s/%.200s", dir, de->d_name);
		r = read_table(path, &old->v, &old->n, &cap, oldest);
	}
	closedir(dp);
	if (r != 0) {
		hm_inflight_old_free(old);
		return hm_err_set(e, HM_EIO, "cannot read the in-flight tables in %s", dir);
	}
	if (old->n > 0) {
		qsort(old->v, old->n, sizeof(*old->v), by_id);
		/* Once for every run it was lost in. */
		for (size_t i = 0; i < old->n; i++)
			if (k < RUNS_MAX || !hm_ulid_eq(&old->v[i], &old->v[k - RUNS_MAX]))
				old->v[k++] = old->v[i];
		old->n = k;
	}
	snprintf(path, sizeof(path), "%s/inflight.old", dir);
	if (write_old(path, old, e) != 0) {
		hm_inflight_old_free(old);
		return e ? e->code : HM_EIO;
	}
	(void)hm_fault(HM_FAULT_inflight_saved);
	*old_r = old;
	return 0;
}

unsigned hm_inflight_runs(const struct hm_inflight_old *old, const struct hm_ulid *id)
{
	size_t from = 0, to = old ? old->n : 0;
	unsigned n = 0;

	while (from < to) {
		size_t at = from + (to - from) / 2;

		if (by_id(&old->v[at], id) < 0)
			from = at + 1;
		else
			to = at;
	}
	while (old && from + n < old->n && hm_ulid_eq(&old->v[from + n], id))
		n++;
	return n;
}

size_t hm_inflight_old_count(const struct hm_inflight_old *old)
{
	return old ? old->n : 0;
}

void hm_inflight_old_free(struct hm_inflight_old *old)
{
	if (old == NULL)
		return;
	free(old->v);
	free(old);
}

int hm_inflight_open(struct hm_str data_dir, uint32_t shard, uint32_t slots, struct hm_inflight **r,
		     struct hm_err *e)
{
	struct hm_inflight *f = calloc(1, sizeof(*f));
	char path[4096];

	if (f == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(f, INFLIGHT_MAGIC);
	snprintf(path, sizeof(path), "%.*s/inflight.%u", HM_STRF(data_dir), shard);
	f->n = slots;
	f->bytes = HEADER_BYTES + (size_t)slots * sizeof(struct hm_ulid);
	f->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	f->free_list = malloc(slots * sizeof(*f->free_list));
	/* Allocated, not sparse: a full disk must fail here and not as SIGBUS at a store. */
	if (f->fd < 0 || f->free_list == NULL || posix_fallocate(f->fd, 0, (off_t)f->bytes) != 0) {
		hm_err_set(e, HM_EIO, "cannot create %s (%zu bytes): %s", path, f->bytes, strerror(errno));
		hm_inflight_close(f);
		return HM_EIO;
	}
	f->map = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (f->map == MAP_FAILED) {
		f->map = NULL;
		hm_err_set(e, HM_EIO, "cannot map %s: %s", path, strerror(errno));
		hm_inflight_close(f);
		return HM_EIO;
	}
	memset(f->map, 0, f->bytes);
	memcpy(f->map, FILE_MAGIC, 8);
	f->slots = (struct hm_ulid *)(void *)(f->map + HEADER_BYTES);
	for (uint32_t i = 0; i < slots; i++)
		f->free_list[i] = slots - 1 - i;
	f->n_free = slots;
	*r = f;
	return 0;
}

void hm_inflight_close(struct hm_inflight *f)
{
	if (f == NULL)
		return;
	HM_CHECK(f, INFLIGHT_MAGIC);
	if (f->map != NULL)
		munmap(f->map, f->bytes);
	if (f->fd >= 0)
		close(f->fd);
	free(f->free_list);
	HM_MAGIC_CLEAR(f);
	free(f);
}

uint32_t hm_inflight_put(struct hm_inflight *f, const struct hm_ulid *id)
{
	uint32_t s;

	if (f->n_free == 0)
		return HM_INFLIGHT_NONE;
	s = f->free_list[--f->n_free];
	f->slots[s] = *id;
	return s;
}

void hm_inflight_clear(struct hm_inflight *f, uint32_t slot)
{
	hm_assert(slot < f->n && f->n_free < f->n);
	f->slots[slot] = zero;
	f->free_list[f->n_free++] = slot;
}

uint32_t hm_inflight_free_slots(const struct hm_inflight *f)
{
	return f->n_free;
}

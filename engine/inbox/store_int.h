/*
 * store_int.h - the scripts, for store.c
 */
#ifndef HM_INBOX_STORE_INT_H
#define HM_INBOX_STORE_INT_H

#include "inbox/store.h"

extern struct hm_redis_script inbox_add_script, inbox_list_script, inbox_get_script, inbox_since_script,
	inbox_mark_script, inbox_erase_script;

#endif

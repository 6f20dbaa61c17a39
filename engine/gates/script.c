/*
 * script.c - the two scripts that run inside Redis: ask (reserve all or nothing) and settle (commit, release)
 *
 * Both take KEYS and one binary argument, little endian, built in gates.c:
 *
 *   ask      number of records H, of plans B, of lists B; lists; plans; records
 *   settle   number of records H, of plans B; plans; records
 *   list     (its hash is the next of KEYS) number of fields H; each: length H, bytes
 *   plan     longest memory of its rules in ms I6, number of rules B; their ids c4 each; then for each rule: max H (0: none),
 *            begin of its window I6 (what came later counts), min_gap I5
 *   record   ask: flags B, plan B (0: none), message c16, now I6, lease I6, first field of the user H, of the address H (0:
 *            none), of each: fields of the list B, after them of consents B. settle: flags B, plan B, message c16, now I6, dedupe window I6, content window I6.
 *            Keys follow in KEYS for each record: of the caps when it has a plan, of the dedupe key, of the content
 *
 * What Redis keeps. Of a person, one string: a 1 (the version), then groups, one for each set of rules its messages were under:
 *
 *   group    number of rules B, of events H, longest memory I6, no event is younger than I6, nothing ends later than I6; ids of
 *            the rules c4 each; events
 *   event    last 8 bytes of the message's id, time I6, lease I6 (0: committed)
 *
 * so that an event takes 20 bytes, however many rules count it. The usual case looks at heads of groups only: fewer events in
 * all than any rule allows, and the youngest of them older than any gap. Only else, and at every 16th event of a group, the
 * events themselves are read; those that nothing counts any more are dropped then. The string ends with the last of them. Of a dedupe key or content: message c16, end I6, "c" when committed.
 *
 * A record that fails (a key of another type, no memory) does not stop the others; what it may have left is its own message's
 * and found again or over with its lease. Redis calls: a dedupe key costs 1 (2 when it is there), caps 2, the lists 1 together.
 */
#include "gates/gates_int.h"

#define PRELUDE                                                                                                                  \
	"local U, P, S, call, band = struct.unpack, struct.pack, string.sub, redis.call, bit.band\n"                             \
	"local b, fmts = ARGV[1], {}\n"                                                                                          \
	"local function fmt(n)\n"                                                                                                \
	"  local f = fmts[n]\n"                                                                                                  \
	"  if not f then f = '<' .. string.rep('c8I6I6', n); fmts[n] = f end\n"                                                  \
	"  return f\n"                                                                                                           \
	"end\n"                                                                                                                  \
	"local function read_plans(np, pos)\n"                                                                                   \
	"  local plans = {}\n"                                                                                                   \
	"  for i = 1, np do\n"                                                                                                   \
	"    local keep, n, p = U('<I6B', b, pos)\n"                                                                             \
	"    local plan = {keep = keep, n = n, sig = S(b, p, p + 4 * n - 1), at = {}, hits = {}, most = 0, "                     \
	"least = math.huge, gap = 0}\n"                                                                                          \
	"    pos = p + 4 * n\n"                                                                                                  \
	"    for k = 1, n do\n"                                                                                                  \
	"      plan.at[S(plan.sig, 4 * k - 3, 4 * k)] = k\n"                                                                     \
	"      plan[3 * k - 2], plan[3 * k - 1], plan[3 * k], pos = U('<HI6I5', b, pos)\n"                                       \
	"      local max, gap = plan[3 * k - 2], plan[3 * k]\n"                                                                  \
	"      if max > plan.most then plan.most = max end\n"                                                                    \
	"      if max > 0 and max < plan.least then plan.least = max end\n"                                                      \
	"      if gap > plan.gap then plan.gap = gap end\n"                                                                      \
	"    end\n"                                                                                                              \
	"    plans[i] = plan\n"                                                                                                  \
	"  end\n"                                                                                                                \
	"  return plans, pos\n"                                                                                                  \
	"end\n"                                                                                                                  \
	"local function head(...) return P('<BHI6I6I6', ...) end\n"                                                              \
	"local function write(key, s, till, now)\n"                                                                              \
	"  call('SET', key, s, 'PX', string.format('%.0f', till - now > 1000 and till - now or 1000))\n"                         \
	"end\n" /* Groups without what is over. Of others' events: how many, and the newest; own: where the message's own is. */ \
	"local function parse(s, now, id)\n"                                                                                     \
	"  local gs = {}\n"                                                                                                      \
	"  if not s then return gs end\n"                                                                                        \
	"  if s:byte(1) ~= 1 then error('the caps of this person were written by another version') end\n"                        \
	"  local pos, len = 2, #s\n"                                                                                             \
	"  while pos <= len do\n"                                                                                                \
	"    local nr, ne, keep, young, ends, p = U('<BHI6I6I6', s, pos)\n"                                                      \
	"    local g = {keep = keep, sig = S(s, p, p + 4 * nr - 1), others = 0, newest = 0, till = 0}\n"                         \
	"    p = p + 4 * nr\n"                                                                                                   \
	"    local v, n, over = {U(fmt(ne), s, p)}, 3 * ne, false\n"                                                             \
	"    for i = 1, n, 3 do\n"                                                                                               \
	"      local t, l = v[i + 1], v[i + 2]\n"                                                                                \
	"      local till = l == 0 and t + keep or l\n"                                                                          \
	"      if till <= now then\n"                                                                                            \
	"        v[i] = false; over = true\n"                                                                                    \
	"      else\n"                                                                                                           \
	"        if till > g.till then g.till = till end\n"                                                                      \
	"        if v[i] == id then\n"                                                                                           \
	"          g.own = i\n"                                                                                                  \
	"        else\n"                                                                                                         \
	"          g.others = g.others + 1\n"                                                                                    \
	"          if t > g.newest then g.newest = t end\n"                                                                      \
	"        end\n"                                                                                                          \
	"      end\n"                                                                                                            \
	"    end\n"                                                                                                              \
	"    if over then\n"                                                                                                     \
	"      local w, k = {}, 0\n"                                                                                             \
	"      for i = 1, n, 3 do\n"                                                                                             \
	"        if v[i] then\n"                                                                                                 \
	"          if g.own == i then g.own = k + 1 end\n"                                                                       \
	"          w[k + 1], w[k + 2], w[k + 3] = v[i], v[i + 1], v[i + 2]\n"                                                    \
	"          k = k + 3\n"                                                                                                  \
	"        end\n"                                                                                                          \
	"      end\n"                                                                                                            \
	"      v, n = w, k\n"                                                                                                    \
	"    else\n"                                                                                                             \
	"      g.raw = S(s, pos, p + 20 * ne - 1)\n"                                                                             \
	"    end\n"                                                                                                              \
	"    g.v, g.n = v, n\n"                                                                                                  \
	"    gs[#gs + 1] = g\n"                                                                                                  \
	"    pos = p + 20 * ne\n"                                                                                                \
	"  end\n"                                                                                                                \
	"  return gs\n"                                                                                                          \
	"end\n"                                                                                                                  \
	"local function drop(g, i)\n"                                                                                            \
	"  for k = 1, 3 do table.remove(g.v, i) end\n"                                                                           \
	"  g.n, g.raw = g.n - 3, nil\n"                                                                                          \
	"end\n" /* Not more than its rules can ever count, and some: messages that bypass caps add up. */                        \
	"local function add(gs, plan, id, t, lease)\n"                                                                           \
	"  local g\n"                                                                                                            \
	"  for i = 1, #gs do if gs[i].sig == plan.sig then g = gs[i] end end\n"                                                  \
	"  if not g then g = {sig = plan.sig, v = {}, n = 0, till = 0}; gs[#gs + 1] = g end\n"                                   \
	"  while g.n >= 3 * (plan.most + 64) do drop(g, 1) end\n"                                                                \
	"  g.v[g.n + 1], g.v[g.n + 2], g.v[g.n + 3] = id, t, lease\n"                                                            \
	"  g.n, g.keep, g.raw = g.n + 3, plan.keep, nil\n"                                                                       \
	"end\n"                                                                                                                  \
	"local function store(key, gs, now)\n"                                                                                   \
	"  local out, till = {'\\1'}, 0\n"                                                                                       \
	"  for i = 1, #gs do\n"                                                                                                  \
	"    local g = gs[i]\n"                                                                                                  \
	"    if g.n > 0 then\n"                                                                                                  \
	"      if not g.raw then\n"                                                                                              \
	"        local young = 0\n"                                                                                              \
	"        g.till = 0\n"                                                                                                   \
	"        for k = 1, g.n, 3 do\n"                                                                                         \
	"          local t, l = g.v[k + 1], g.v[k + 2]\n"                                                                        \
	"          local till = l == 0 and t + g.keep or l\n"                                                                    \
	"          if t > young then young = t end\n"                                                                            \
	"          if till > g.till then g.till = till end\n"                                                                    \
	"        end\n"                                                                                                          \
	"        g.raw = head(#g.sig / 4, g.n / 3, g.keep, young, g.till) .. g.sig .. P(fmt(g.n / 3), "                          \
	"unpack(g.v, 1, g.n))\n"                                                                                                 \
	"      end\n"                                                                                                            \
	"      out[#out + 1] = g.raw\n"                                                                                          \
	"      if g.till > till then till = g.till end\n"                                                                        \
	"    end\n"                                                                                                              \
	"  end\n"                                                                                                                \
	"  if #out == 1 then\n"                                                                                                  \
	"    call('DEL', key)\n"                                                                                                 \
	"  else\n"                                                                                                               \
	"    write(key, table.concat(out), till, now)\n"                                                                         \
	"  end\n"                                                                                                                \
	"end\n"                                                                                                                  \
	"local function text(e) return type(e) == 'table' and e.err or tostring(e) end\n"

struct hm_redis_script gates_ask_script = {
	.name = "gates-ask",
	.source = PRELUDE
	"local n, np, nl, pos = U('<HBB', b, 1)\n"
	"local F, nF = {}, 0\n"
	"for i = 1, nl do\n"
	"  local nf, p = U('<H', b, pos)\n"
	"  local names = {U('<' .. string.rep('Hc0', nf), b, p)}\n"
	"  pos = names[nf + 1]\n"
	"  local v = call('HMGET', KEYS[i], unpack(names, 1, nf))\n"
	"  for k = 1, nf do F[nF + k] = v[k] end\n"
	"  nF = nF + nf\n"
	"end\n"
	"local plans, ki = nil, nl + 1\n"
	"plans, pos = read_plans(np, pos)\n"
	/* The first field from `from` on that is there and not past its end. */
	"local function listed(from, nf, now)\n"
	"  if from == 0 then return end\n"
	"  for i = from, from + nf - 1 do\n"
	"    local v = F[i]\n"
	"    if v then\n"
	"      local till = string.match(v, '\"until\":%s*(%d+)')\n"
	"      if not till or tonumber(till) > now then return i end\n"
	"    end\n"
	"  end\n"
	"end\n"
	/* 1: taken now, 0: had it, or the message that has it. */
	"local function take(key, id, now, lease)\n"
	"  local mine, px = id .. P('<I6', lease), string.format('%.0f', lease - now)\n"
	"  if call('SET', key, mine, 'NX', 'PX', px) then return 1 end\n"
	"  local v = call('GET', key)\n"
	"  local owner = S(v, 1, 16)\n"
	"  if owner == id then return 0 end\n"
	"  if U('<I6', v, 17) > now then return owner end\n"
	"  call('SET', key, mine, 'PX', px)\n"
	"  return 1\n"
	"end\n"
	/* nil: it has its slot; or what every refusing rule says: number, max 0 or gap 1, time to count from */
	"local function caps(key, plan, id, now, lease, ask, count)\n"
	"  local s = call('GET', key)\n"
	"  if not s then\n"
	"    if count then\n"
	"      write(key, '\\1' .. head(plan.n, 1, plan.keep, now, lease) .. plan.sig .. id .. P('<I6I6', "
	"now, lease), lease, now)\n"
	"    end\n"
	"    return\n"
	"  end\n"
	"  if s:byte(1) == 1 and not string.find(s, id, 2, true) then\n"
	"    local pos, len, total, youngest, till = 2, #s, 0, 0, lease\n"
	"    local at, an, ayoung, atill, aend\n"
	"    while pos <= len do\n"
	"      local nr, ne, keep, young, ends = U('<BHI6I6I6', s, pos)\n"
	"      local after = pos + 21 + 4 * nr + 20 * ne\n"
	"      if S(s, pos + 21, pos + 20 + 4 * nr) == plan.sig then at, an, ayoung, atill, aend = pos, ne, "
	"young, ends, after end\n"
	"      total = total + ne\n"
	"      if young > youngest then youngest = young end\n"
	"      if ends > till then till = ends end\n"
	"      pos = after\n"
	"    end\n"
	"    if (not ask or (total < plan.least and youngest + plan.gap <= now)) and not (at and an % 16 == "
	"15) then\n"
	"      if not count then return end\n"
	"      local event = id .. P('<I6I6', now, lease)\n"
	"      if at then\n"
	"        if now > ayoung then ayoung = now end\n"
	"        if lease > atill then atill = lease end\n"
	"        s = S(s, 1, at - 1) .. head(plan.n, an + 1, plan.keep, ayoung, atill) .. S(s, at + 21, aend "
	"- 1) .. event .. S(s, aend)\n"
	"      else\n"
	"        s = s .. head(plan.n, 1, plan.keep, now, lease) .. plan.sig .. event\n"
	"      end\n"
	"      write(key, s, till, now)\n"
	"      return\n"
	"    end\n"
	"  end\n"
	"  local gs = parse(s, now, id)\n"
	"  for i = 1, #gs do\n"
	"    local g = gs[i]\n"
	"    if g.own and g.sig == plan.sig then\n"
	"      if g.v[g.own + 2] ~= 0 and count then\n"
	"        g.v[g.own + 1], g.v[g.own + 2], g.raw = now, lease, nil\n"
	"        store(key, gs, now)\n"
	"      end\n"
	"      return\n"
	"    end\n"
	"  end\n"
	"  if ask then\n"
	"    local said\n"
	"    for i = 1, #gs do\n"
	"      local g = gs[i]\n"
	"      local hit = plan.hits[g.sig]\n"
	"      if not hit then\n"
	"        hit = {}\n"
	"        for j = 1, #g.sig, 4 do\n"
	"          local k = plan.at[S(g.sig, j, j + 3)]\n"
	"          if k then hit[k] = true end\n"
	"        end\n"
	"        plan.hits[g.sig] = hit\n"
	"      end\n"
	"      g.hit = hit\n"
	"    end\n"
	"    for k = 1, #gs > 0 and plan.n or 0 do\n"
	"      local max, begin, gap = plan[3 * k - 2], plan[3 * k - 1], plan[3 * k]\n"
	"      local most, newest = 0, 0\n"
	"      for i = 1, #gs do\n"
	"        local g = gs[i]\n"
	"        if g.hit[k] then\n"
	"          most = most + g.others\n"
	"          if g.newest > newest then newest = g.newest end\n"
	"        end\n"
	"      end\n"
	"      if max > 0 and most >= max then\n"
	"        local ts = {}\n"
	"        for i = 1, #gs do\n"
	"          local g = gs[i]\n"
	"          if g.hit[k] then\n"
	"            local v = g.v\n"
	"            for j = 1, g.n, 3 do\n"
	"              if (v[j + 2] ~= 0 or v[j + 1] > begin) and j ~= g.own then ts[#ts + 1] = v[j + 1] "
	"end\n"
	"            end\n"
	"          end\n"
	"        end\n"
	"        if #ts >= max then\n"
	"          table.sort(ts)\n"
	"          said = (said or '') .. P('<BBI6', k - 1, 0, ts[#ts - max + 1])\n"
	"        end\n"
	"      end\n"
	"      if gap > 0 and newest > 0 and newest + gap > now then\n"
	"        said = (said or '') .. P('<BBI6', k - 1, 1, newest)\n"
	"      end\n"
	"    end\n"
	"    if said then return said end\n"
	"  end\n"
	"  if count then\n"
	/* what it held under other rules, before it came to this channel */
	"    for i = 1, #gs do\n"
	"      local g = gs[i]\n"
	"      if g.own and g.v[g.own + 2] ~= 0 then drop(g, g.own) end\n"
	"    end\n"
	"    add(gs, plan, id, now, lease)\n"
	"    store(key, gs, now)\n"
	"  end\n"
	"end\n"
	"local function one(fl, pl, id, now, lease, fu, fa, nl, nc, kc, kd, kh)\n"
	"  local i = listed(fu, nl, now)\n"
	"  if i then return 'Su' .. string.char(i - fu) .. F[i] end\n"
	"  i = listed(fa, nl, now)\n"
	"  if i then return 'Sa' .. string.char(i - fa) .. F[i] end\n"
	"  local r = 0\n"
	"  if nc > 0 then\n"
	"    if listed(fu > 0 and fu + nl or 0, nc, now) or listed(fa > 0 and fa + nl or 0, nc, now) then\n"
	"      r = 2\n"
	"    elseif band(fl, 32) ~= 0 then\n"
	"      return 'N'\n"
	"    end\n"
	"  end\n"
	"  local d, h = 0, 0\n"
	"  if kd then\n"
	"    d = take(kd, id, now, lease)\n"
	"    if d ~= 1 and d ~= 0 then return 'Dk' .. d end\n"
	"  end\n"
	"  if kh then\n"
	"    h = take(kh, id, now, lease)\n"
	"    if h ~= 1 and h ~= 0 then\n"
	"      if d == 1 then call('DEL', kd) end\n"
	"      return 'Dc' .. h\n"
	"    end\n"
	"  end\n"
	"  local said\n"
	"  if kc then said = caps(kc, plans[pl], string.sub(id, 9), now, lease, band(fl, 4) ~= 0, band(fl, "
	"2) ~= 0) end\n"
	"  if said then\n"
	"    if d == 1 then call('DEL', kd) end\n"
	"    if h == 1 then call('DEL', kh) end\n"
	"    return 'C' .. said\n"
	"  end\n"
	"  if kd or kh or (kc and band(fl, 2) ~= 0) then r = r + 1 end\n"
	"  return r\n"
	"end\n"
	"local out = {}\n"
	"for i = 1, n do\n"
	"  local fl, pl, id, now, lease, fu, fa, nl, nc\n"
	"  fl, pl, id, now, lease, fu, fa, nl, nc, pos = U('<BBc16I6I6HHBB', b, pos)\n"
	"  local kc, kd, kh\n"
	"  if pl > 0 then kc = KEYS[ki]; ki = ki + 1 end\n"
	"  if band(fl, 8) ~= 0 then kd = KEYS[ki]; ki = ki + 1 end\n"
	"  if band(fl, 16) ~= 0 then kh = KEYS[ki]; ki = ki + 1 end\n"
	"  if band(fl, 1) ~= 0 then\n"
	"    out[i] = 0\n"
	"  else\n"
	"    local ok, r = pcall(one, fl, pl, id, now, lease, fu, fa, nl, nc, kc, kd, kh)\n"
	"    out[i] = ok and r or 'E' .. text(r)\n"
	"  end\n"
	"end\n"
	"return out\n",
};

/* Answers 0, or what went wrong first; the whole call may be repeated. */
struct hm_redis_script gates_settle_script = {
	.name = "gates-settle",
	.source = PRELUDE
	"local n, np, pos = U('<HB', b, 1)\n"
	"local plans, ki = nil, 1\n"
	"plans, pos = read_plans(np, pos)\n"
	"local function window(key, id, now, window, commit)\n"
	"  local v = call('GET', key)\n"
	"  local mine = v and S(v, 1, 16) == id\n"
	"  if v and (#v == 23 or not mine) and U('<I6', v, 17) > now then return end\n" /* done, or another's since */
	"  if commit then\n"
	"    call('SET', key, id .. P('<I6', now + window) .. 'c', 'PX', string.format('%.0f', window))\n"
	"  elseif mine then\n"
	"    call('DEL', key)\n"
	"  end\n"
	"end\n"
	/* A release that was repeated after the message asked again must not free what it got then. */
	"local function caps(key, plan, id, now, commit)\n"
	"  local s = call('GET', key)\n"
	"  local i = s and string.find(s, id, 2, true)\n"
	"  if not i and not commit then return end\n"
	"  if i and s:byte(1) == 1 and not string.find(s, id, i + 1, true) then\n"
	"    local pos, len, till = 2, #s, 0\n"
	"    local at, an, ayoung, atill\n"
	"    while pos <= len do\n"
	"      local nr, ne, keep, young, ends = U('<BHI6I6I6', s, pos)\n"
	"      local first = pos + 21 + 4 * nr\n"
	"      if i >= first and i < first + 20 * ne and (i - first) % 20 == 0 and S(s, pos + 21, first - 1) "
	"== plan.sig then\n"
	"        at, an, ayoung, atill = pos, ne, young, ends\n"
	"      elseif ends > till then\n"
	"        till = ends\n"
	"      end\n"
	"      pos = first + 20 * ne\n"
	"    end\n"
	"    if at then\n"
	"      local t, lease = U('<I6I6', s, i + 8)\n"
	"      if lease == 0 then return end\n"
	"      local before, sig = S(s, 1, at - 1), S(s, at + 21, i - 1)\n"
	"      if commit then\n"
	"        if now > ayoung then ayoung = now end\n"
	"        if now + plan.keep > atill then atill = now + plan.keep end\n"
	"        s = before .. head(plan.n, an, plan.keep, ayoung, atill) .. sig .. id .. P('<I6I6', now, 0) "
	".. S(s, i + 20)\n"
	"      elseif t > now + 100 then\n"
	"        return\n"
	"      elseif an == 1 then\n"
	"        s, atill = before .. S(s, i + 20), 0\n"
	"      else\n"
	"        s = before .. head(plan.n, an - 1, plan.keep, ayoung, atill) .. sig .. S(s, i + 20)\n"
	"      end\n"
	"      if #s == 1 then call('DEL', key) else write(key, s, atill > till and atill or till, now) end\n"
	"      return\n"
	"    end\n"
	"  end\n"
	"  local gs = parse(s, now, id)\n"
	"  local changed, done = false, false\n"
	"  for i = 1, #gs do\n"
	"    local g = gs[i]\n"
	"    if g.own then\n"
	"      if g.v[g.own + 2] == 0 then\n"
	"        done = done or g.sig == plan.sig\n"
	"      elseif commit and g.sig == plan.sig then\n"
	"        g.v[g.own + 1], g.v[g.own + 2], g.raw = now, 0, nil\n"
	"        changed, done = true, true\n"
	"      elseif commit or g.v[g.own + 1] <= now + 100 then\n"
	"        drop(g, g.own)\n"
	"        changed = true\n"
	"      end\n"
	"    end\n"
	"  end\n"
	"  if commit and not done then\n"
	"    add(gs, plan, id, now, 0)\n"
	"    changed = true\n"
	"  end\n"
	"  if changed then store(key, gs, now) end\n"
	"end\n"
	"local function one(pl, id, now, wd, wh, commit, kc, kd, kh)\n"
	"  if kc then caps(kc, plans[pl], string.sub(id, 9), now, commit) end\n"
	"  if kd then window(kd, id, now, wd, commit) end\n"
	"  if kh then window(kh, id, now, wh, commit) end\n"
	"end\n"
	"local failed = 0\n"
	"for i = 1, n do\n"
	"  local fl, pl, id, now, wd, wh\n"
	"  fl, pl, id, now, wd, wh, pos = U('<BBc16I6I6I6', b, pos)\n"
	"  local commit = band(fl, 128) ~= 0\n"
	"  local kc, kd, kh\n"
	"  if pl > 0 then kc = KEYS[ki]; ki = ki + 1 end\n"
	"  if band(fl, 8) ~= 0 then kd = KEYS[ki]; ki = ki + 1 end\n"
	"  if band(fl, 16) ~= 0 then kh = KEYS[ki]; ki = ki + 1 end\n"
	"  local ok, e = pcall(one, pl, id, now, wd, wh, commit, kc, kd, kh)\n"
	"  if not ok and failed == 0 then failed = text(e) end\n"
	"end\n"
	"return failed\n",
};

"""The steps of RedisStore, each one Lua script and so atomic, between processes too.

Keys, after the prefix::

    :number          string   the last number given, to envelopes and notes of every box: microseconds of Redis' clock
    :epoch           string   of the numbers: another one when some of what was kept may be gone
    :mail:<box>      stream   number-0 -> s(ender) t(arget) i(d) x (expires) e(nvelope) o(rigin) v(ia)
                              n (box of the note) p(lace)
    :notes:<box>     stream   number-0 -> s t i a (state) o
    :known           hash     sender target id relay -> box number
    :noted           hash     box target id -> number
    :expiry          zset     box number, by the time it expires
    :ages            zset     box number of a note, by the time it was made
    :box:bytes       hash     what is kept in each box; its count is the length of its stream
    :from:bytes :from:count   hash   what is kept of each "sender relay", of each relay, of each "p place", of each
                                     "b box sender relay" and of each "q box place"
    :shares:<box>    zset     "sender relay" of what is in the box, by bytes
    :held:<box>      zset     "sender relay number size", all with the score 0: by sender and number
    :here            zset     keys that were here lately, by time;   :here:places  hash  their places
    :here:<place>    zset     those of one place
    :size            string   bytes of all envelopes
    :tried           string   of the last look at whether a write works, for a minute
    :relays          zset     boxes of other relays, by key;   :addresses  hash  their addresses
    :quarantine      stream   the last entries that could not be read

Nothing but ``:number`` and ``:epoch`` is left of an emptied relay. Numbers are times, so that none is given twice by
a Redis that lost what it knew: a replica that lagged, an old copy of its file, FLUSHALL. A script that adds begins
with a write that Redis refuses when its memory is used up, so that such a script does nothing then; a script that
removes begins with a removal, which Redis allows. ARGV[1] is the prefix.
"""

from typing import Final

from mm_relay.stores.contract import MOST_GIVE_WAY

_COMMON: Final = """
local P = ARGV[1]
local call = redis.call

local function number()
  local time, last = call('TIME'), tonumber(call('GET', P .. ':number') or 0)
  local n = string.format('%.0f', math.max(last + 1, tonumber(time[1]) * 1000000 + tonumber(time[2])))
  call('SET', P .. ':number', n)
  return n
end

local function fields(entry)
  local found = {}
  for i = 1, #entry[2], 2 do found[entry[2][i]] = entry[2][i + 1] end
  return found
end

local function bare(id)
  return string.sub(id, 1, string.find(id, '-', 1, true) - 1)
end

local function mark_relay(box, address)
  call('ZADD', P .. ':relays', 0, box)
  call('HSET', P .. ':addresses', box, address)
end

local function leave(box)
  if call('EXISTS', P .. ':mail:' .. box, P .. ':notes:' .. box) == 0 then
    call('ZREM', P .. ':relays', box)
    call('HDEL', P .. ':addresses', box)
  end
end

local function drop_note(box, entry)
  local stream, known, f = P .. ':notes:' .. box, P .. ':noted', fields(entry)
  local name = box .. (f.t or '') .. (f.i or '')
  call('XDEL', stream, entry[1])
  call('ZREM', P .. ':ages', box .. bare(entry[1]))
  if call('HGET', known, name) == bare(entry[1]) then call('HDEL', known, name) end
  if call('XLEN', stream) == 0 then
    call('DEL', stream)
    leave(box)
  end
end

local function note(box, sender, target, id, state, origin, made, most)
  local stream, n = P .. ':notes:' .. box, number()
  call('XADD', stream, n .. '-0', 's', sender, 't', target, 'i', id, 'a', state, 'o', origin)
  call('ZADD', P .. ':ages', made, box .. n)
  call('HSET', P .. ':noted', box .. target .. id, n)
  if origin ~= '' then mark_relay(box, origin) end
  while call('XLEN', stream) > most do
    drop_note(box, call('XRANGE', stream, '-', '+', 'COUNT', 1)[1])
  end
  return n
end

local function count_in(from, count, size)
  if call('HINCRBY', P .. ':from:count', from, count) <= 0 then
    call('HDEL', P .. ':from:count', from)
    call('HDEL', P .. ':from:bytes', from)
  else
    call('HINCRBY', P .. ':from:bytes', from, size)
  end
end

-- What an envelope counts for, beside its sender and relay: the place, the sender's and the place's share of the box.
local function count_shares(box, from, place, count, size)
  local share = 'b' .. box .. from
  count_in(share, count, size)
  if call('HEXISTS', P .. ':from:count', share) == 1 then
    call('ZINCRBY', P .. ':shares:' .. box, size, from)
  else
    call('ZREM', P .. ':shares:' .. box, from)
  end
  if place ~= '' then
    count_in('p' .. place, count, size)
    count_in('q' .. box .. place, count, size)
  end
end

local function held(from, n, size)
  return from .. string.rep('0', 16 - #n) .. n .. ' ' .. size
end

local function remove(box, n, state, made, most)
  local stream = P .. ':mail:' .. box
  local entry = call('XRANGE', stream, n .. '-0', n .. '-0')[1]
  call('ZREM', P .. ':expiry', box .. n)
  if not entry then return nil end
  local f = fields(entry)
  local size = #(f.e or '')
  call('XDEL', stream, entry[1])
  if call('XLEN', stream) == 0 then
    call('DEL', stream)
    call('HDEL', P .. ':box:bytes', box)
    leave(box)
  else
    call('HINCRBY', P .. ':box:bytes', box, 0 - size)
  end
  if call('DECRBY', P .. ':size', size) <= 0 then call('DEL', P .. ':size') end
  if not (f.s and f.t and f.i) then return nil end
  local origin, into = f.o or '', f.n or f.s
  local relay = origin ~= '' and into or ''
  count_in(f.s .. relay, -1, 0 - size)
  if relay ~= '' then count_in(relay, -1, 0 - size) end
  count_shares(box, f.s .. relay, f.p or '', -1, 0 - size)
  call('ZREM', P .. ':held:' .. box, held(f.s .. relay, n, size))
  local name = f.s .. f.t .. f.i .. relay
  if call('HGET', P .. ':known', name) == box .. n then call('HDEL', P .. ':known', name) end
  if state == '' then return nil end
  return {note(into, f.s, f.t, f.i, state, origin, made, most), into, f.s, f.t, f.i, state, origin}
end
"""

_PUT: Final = """
local box, sender, target, id, expires, envelope, origin, via, into, place = unpack(ARGV, 2, 11)
local made, most = ARGV[12], tonumber(ARGV[13])
local caps = {}
for i = 14, #ARGV do caps[#caps + 1] = tonumber(ARGV[i]) end
local box_bytes, box_count, here_since, gives_way = caps[1], caps[2], caps[13], caps[14]
local relay = origin ~= '' and into or ''
local from, name = sender .. relay, sender .. target .. id .. relay
local kept = call('HGET', P .. ':known', name)
if kept then
  local at = call('ZSCORE', P .. ':expiry', kept)
  if at then return {string.sub(kept, 33), at, {}} end
end
local stream, size = P .. ':mail:' .. box, #envelope
local function over(count, used, most_count, most_bytes)
  return (most_count > 0 and tonumber(count or 0) >= most_count)
    or (most_bytes > 0 and tonumber(used or 0) + size > most_bytes)
end
local function from_over(name, most_bytes, most_count)
  return over(call('HGET', P .. ':from:count', name), call('HGET', P .. ':from:bytes', name), most_count, most_bytes)
end

-- The newest envelopes of the largest sender that make room, nil when it has no more than its due.
local function giving_way(count, used)
  local top = call('ZREVRANGE', P .. ':shares:' .. box, 0, 0, 'WITHSCORES')
  if not top[1] or top[1] == from then return nil end
  if tonumber(top[2]) <= tonumber(call('ZSCORE', P .. ':shares:' .. box, from) or 0) + size then return nil end
  local found, at = {}, P .. ':held:' .. box
  for _, member in ipairs(call('ZREVRANGEBYLEX', at, '[' .. top[1] .. '\\255', '[' .. top[1], 'LIMIT', 0, MOST)) do
    found[#found + 1] = string.gsub(string.sub(member, #top[1] + 1, #top[1] + 16), '^0+', '')
    used, count = used - tonumber(string.sub(member, #top[1] + 18)), count - 1
    if (box_bytes == 0 or used + size <= box_bytes) and (box_count == 0 or count < box_count) then return found end
  end
  return nil
end

local count, used, gone = call('XLEN', stream), tonumber(call('HGET', P .. ':box:bytes', box) or 0), {}
if over(count, used, box_count, box_bytes) then
  gone = gives_way == 1 and giving_way(count, used)
  if not gone then return 'overflow' end
end
if here_since > 0 and tonumber(call('ZSCORE', P .. ':here', box) or -1) < here_since then return 'storage' end
if from_over(from, caps[3], caps[4]) then return 'quota' end
if relay ~= '' and from_over(relay, caps[5], caps[6]) then return 'quota' end
if from_over('b' .. box .. from, caps[7], caps[8]) then return 'quota' end
if place ~= '' then
  if from_over('p' .. place, caps[9], caps[10]) then return 'quota' end
  if from_over('q' .. box .. place, caps[11], caps[12]) then return 'quota' end
end
local n = number()
local notes = {}
for _, each in ipairs(gone) do notes[#notes + 1] = remove(box, each, 'overflow', made, most) end
call('XADD', stream, n .. '-0', 's', sender, 't', target, 'i', id, 'x', expires, 'e', envelope, 'o', origin,
  'v', via, 'n', into, 'p', place)
call('HSET', P .. ':known', name, box .. n)
call('ZADD', P .. ':expiry', expires, box .. n)
call('HINCRBY', P .. ':box:bytes', box, size)
count_in(from, 1, size)
if relay ~= '' then count_in(relay, 1, size) end
count_shares(box, from, place, 1, size)
call('ZADD', P .. ':held:' .. box, 0, held(from, n, size))
call('INCRBY', P .. ':size', size)
if via ~= '' then mark_relay(box, via) end
return {n, expires, notes}
""".replace("MOST)", f"{MOST_GIVE_WAY})")

_HERE: Final = """
local key, place, now, again, most, most_there = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]),
  tonumber(ARGV[6]), tonumber(ARGV[7])
local all, places = P .. ':here', P .. ':here:places'
local function forget(each)
  call('ZREM', all, each)
  local was = call('HGET', places, each)
  if was then
    call('ZREM', P .. ':here:' .. was, each)
    call('HDEL', places, each)
  end
end
local before = call('ZSCORE', all, key)
if before and now - tonumber(before) < again then return 0 end
forget(key)
call('ZADD', all, now, key)
call('HSET', places, key, place)
call('ZADD', P .. ':here:' .. place, now, key)
if call('ZCARD', P .. ':here:' .. place) > most_there then
  forget(call('ZRANGE', P .. ':here:' .. place, 0, 0)[1])
elseif call('ZCARD', all) > most then
  forget(call('ZRANGE', all, 0, 0)[1])
end
return 1
"""

_COLLECT: Final = """
local stream, start = P .. ':mail:' .. ARGV[2], ARGV[3] .. '-0'
local count, left, found = tonumber(ARGV[4]), tonumber(ARGV[5]), {}
while #found < count do
  local entries = call('XRANGE', stream, start, '+', 'COUNT', math.min(count - #found, 16))
  for _, entry in ipairs(entries) do
    left = left - #(fields(entry).e or '')
    if #found > 0 and left < 0 then return found end
    found[#found + 1] = entry
  end
  if #entries < 16 then return found end
  start = '(' .. entries[#entries][1]
end
return found
"""

_END: Final = """
local box, state, made, most = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local notes = {}
for i = 6, #ARGV do notes[#notes + 1] = remove(box, ARGV[i], state, made, most) end
return notes
"""

_EXPIRE: Final = """
local now, before, count, made, most = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local notes, due = {}, call('ZRANGEBYSCORE', P .. ':expiry', '-inf', now, 'LIMIT', 0, count)
for _, member in ipairs(due) do
  notes[#notes + 1] = remove(string.sub(member, 1, 32), string.sub(member, 33), 'expired', made, most)
end
for _, member in ipairs(call('ZRANGEBYSCORE', P .. ':ages', '-inf', '(' .. before, 'LIMIT', 0, count)) do
  local box, id = string.sub(member, 1, 32), string.sub(member, 33) .. '-0'
  local entry = call('XRANGE', P .. ':notes:' .. box, id, id)[1]
  if entry then drop_note(box, entry) else call('ZREM', P .. ':ages', member) end
end
return {#due, notes}
"""

_NOTE: Final = """
local box, sender, target, id, state, origin, made = unpack(ARGV, 2, 8)
return call('HGET', P .. ':noted', box .. target .. id)
  or note(box, sender, target, id, state, origin, made, tonumber(ARGV[9]))
"""

_FORGET: Final = """
local entries = call('XRANGE', P .. ':notes:' .. ARGV[2], '-', ARGV[3] .. '-0', 'COUNT', ARGV[4])
for _, entry in ipairs(entries) do drop_note(ARGV[2], entry) end
return #entries
"""

_BOXES: Final = """
local found, after = {}, ARGV[2] == '' and '-' or '(' .. ARGV[2]
for _, box in ipairs(call('ZRANGEBYLEX', P .. ':relays', after, '+', 'LIMIT', 0, ARGV[3])) do
  found[#found + 1] = {box, call('HGET', P .. ':addresses', box)}
end
return found
"""

_USAGE: Final = """
return {call('ZCARD', P .. ':expiry'), tonumber(call('GET', P .. ':size') or 0), call('HLEN', P .. ':box:bytes'),
  call('ZCARD', P .. ':ages')}
"""

# The last number this process has seen, and a new epoch: that of the store, and its last number, which never falls.
_EPOCH: Final = """
local seen, epoch, last = tonumber(ARGV[2]), call('GET', P .. ':epoch'), tonumber(call('GET', P .. ':number') or 0)
if not epoch or last < seen then
  epoch, last = ARGV[3], math.max(last, seen)
  call('SET', P .. ':epoch', epoch)
  call('SET', P .. ':number', string.format('%.0f', last))
end
return {epoch, string.format('%.0f', last)}
"""

# A write like that of an envelope, to see whether one works.
_TRY: Final = """
call('SET', P .. ':tried', ARGV[2], 'PX', 60000)
return 1
"""

_ASIDE: Final = """
local box, id = ARGV[2], ARGV[3] .. '-0'
local entry = call('XRANGE', P .. ':mail:' .. box, id, id)[1]
if not entry then return 0 end
local words = {}
for i = 1, #entry[2] do words[i] = entry[2][i] end
call('XADD', P .. ':quarantine', 'MAXLEN', 1000, '*', 'box', box, 'number', ARGV[3], unpack(words))
remove(box, ARGV[3], 'refused', ARGV[4], tonumber(ARGV[5]))
return 1
"""

SCRIPTS: Final = {
    name: _COMMON + text
    for name, text in {
        "put": _PUT, "collect": _COLLECT, "end": _END, "expire": _EXPIRE, "note": _NOTE, "forget": _FORGET,
        "boxes": _BOXES, "usage": _USAGE, "aside": _ASIDE, "here": _HERE, "epoch": _EPOCH, "try": _TRY,
    }.items()
}  # fmt: skip

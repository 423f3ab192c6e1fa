"""The steps of RedisCluster, each one Lua script and so atomic.

Keys and channels, after the prefix (ARGV[1])::

    :here:<key>              "number process" with a time to live; the highest number wins
    :lease:<name>            process, with a time to live
    :last                    the last number given: microseconds of Redis' clock, always growing
    :to:<process>, :all      channels: name of the sender, newline, items (wire.py)
    :displaced:<process>     channel: "number key" of a presence that a newer one has replaced
"""

from typing import Final

SCRIPTS: Final = {
    # process, ttl, keys -> their numbers
    "here": """
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', ARGV[1] .. ':last') or 0)
local n = math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), last)
local numbers = {}
for i = 4, #ARGV do
  n = n + 1
  local at, value = ARGV[1] .. ':here:' .. ARGV[i], string.format('%.0f', n)
  local old = redis.call('GET', at)
  redis.call('SET', at, value .. ' ' .. ARGV[2], 'PX', ARGV[3])
  if old then
    local number, process = string.match(old, '^(%d+) (.*)$')
    if process ~= ARGV[2] then
      redis.call('PUBLISH', ARGV[1] .. ':displaced:' .. process, number .. ' ' .. ARGV[i])
    end
  end
  numbers[#numbers + 1] = value
end
redis.call('SET', ARGV[1] .. ':last', string.format('%.0f', n))
return numbers
""",
    # process, ttl, key and number ... -> keys that are newer elsewhere
    "fresh": """
local lost = {}
for i = 4, #ARGV, 2 do
  local at, mine = ARGV[1] .. ':here:' .. ARGV[i], tonumber(ARGV[i + 1])
  local theirs = tonumber(string.match(redis.call('GET', at) or '0 ', '^(%d+) '))
  if theirs == mine then
    redis.call('PEXPIRE', at, ARGV[3])
  elseif theirs < mine then
    redis.call('SET', at, ARGV[i + 1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
""",
    # process, key and number ...
    "gone": """
for i = 3, #ARGV, 2 do
  local at = ARGV[1] .. ':here:' .. ARGV[i]
  if redis.call('GET', at) == ARGV[i + 1] .. ' ' .. ARGV[2] then redis.call('DEL', at) end
end
return 0
""",
    # key -> process, when somebody listens there
    "locate": """
local process = string.match(redis.call('GET', ARGV[1] .. ':here:' .. ARGV[2]) or '', '^%d+ (.*)$')
if process and redis.call('PUBSUB', 'NUMSUB', ARGV[1] .. ':to:' .. process)[2] > 0 then return process end
return ''
""",
    # process, name, milliseconds -> 1 when it is ours
    "lease": """
local at = ARGV[1] .. ':lease:' .. ARGV[3]
local holder = redis.call('GET', at)
if holder and holder ~= ARGV[2] then return 0 end
redis.call('SET', at, ARGV[2], 'PX', ARGV[4])
return 1
""",
}

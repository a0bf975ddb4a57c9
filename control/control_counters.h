#pragma once
// What the control thread counts. One list makes the fields, their stable names and texts; the control API shows all.

#include <array>
#include <cstdint>
#include <string_view>

namespace slipway {

// X(field, what it counts)
#define SLIPWAY_CONTROL_COUNTERS(X)                                                       \
  X(links_opened, "links opened, both ways")                                              \
  X(links_up, "links whose hello was finished")                                           \
  X(links_closed, "links closed")                                                         \
  X(links_refused, "connections refused because of a limit")                              \
  X(links_turned_away, "links closed because of their hello or negotiation, or what came in its place") \
  X(hellos, "hellos by datagram")                                                         \
  X(frames_punted, "control frames taken from workers")                                   \
  X(packets_punted, "neighbour packets taken from workers")                               \
  X(frames_malformed, "control frames whose body made no sense")                          \
  X(frames_stale, "control frames of links that were gone")                               \
  X(subscriptions, "subscriptions accepted")                                              \
  X(unsubscriptions, "unsubscriptions accepted")                                          \
  X(subscriptions_refused, "subscriptions and unsubscriptions answered with a failure")   \
  X(subscriptions_undone, "changes taken back because a worker did not apply them")       \
  X(acks_sent, "acknowledgements sent")                                                   \
  X(names_announced, "names announced to peers")                                          \
  X(names_withdrawn, "names withdrawn from peers")                                        \
  X(names_relayed, "announcements and withdrawals of peers passed on")                    \
  X(names_looped, "announcements that had been passed on before")                         \
  X(peer_refusals, "announcements that a peer answered with a failure")                   \
  X(announcements_resent, "announcements sent again because no answer came")              \
  X(no_route_notices, "senders told that nothing matched their publish")                  \
  X(no_route_heard, "notices of peers that nothing matched a frame")                      \
  X(stalls, "receivers that took nothing")                                                \
  X(commands_delayed, "commands that found a worker's ring full and waited")              \
  X(api_requests, "requests to the control API")                                          \
  X(api_errors, "requests to the control API answered with an error")                     \
  X(api_refused, "connections to the control API refused because of the limit")           \
  X(stream_records_lost, "trace and capture records that their reader was too slow for")  \
  X(longest_turn_us, "longest stretch without a look at the workers, in microseconds of CPU")  \
  X(reloads, "configurations taken")                                                      \
  X(reloads_failed, "configurations refused")                                             \
  X(log_lines_folded, "log lines not written because they repeated others")

struct ControlCounters {
#define SLIPWAY_X(field, text) std::uint64_t field = 0;
  SLIPWAY_CONTROL_COUNTERS(SLIPWAY_X)
#undef SLIPWAY_X
};

struct ControlCounterText {
  std::string_view name;
  std::string_view text;
  std::uint64_t ControlCounters::*field;
};
inline constexpr auto kControlCounterTexts = std::to_array<ControlCounterText>({
#define SLIPWAY_X(field, text) {#field, text, &ControlCounters::field},
    SLIPWAY_CONTROL_COUNTERS(SLIPWAY_X)
#undef SLIPWAY_X
});

}  // namespace slipway

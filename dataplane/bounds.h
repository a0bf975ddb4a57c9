#pragma once
// Every bound of the dataplane, in one place, with the relations between them.
// A value that an operator can set has its default here and its name in the configuration reference.

#include <cstddef>
#include <cstdint>

namespace slipway {

// --- names and frames -------------------------------------------------------------------------------
inline constexpr std::size_t kMaxComponentBytes = 1024;        // one text component of a name
inline constexpr std::size_t kFrameHeaderBytes = 104;
inline constexpr std::size_t kShimBytes = 38;
inline constexpr std::size_t kStreamPrefixBytes = 4;           // 32-bit length before a frame on a stream
inline constexpr std::size_t kMaxFrameBytes = 4u << 20;        // header and body, on a stream link
inline constexpr std::size_t kMaxDatagramFrameBytes = 64u << 10;  // header and body, on a datagram link
inline constexpr std::size_t kMaxControlFrameBytes = 16u << 10;   // a frame that is not a publish
inline constexpr std::uint8_t kDefaultHopLimit = 8;            // upstream's DEFAULT_TTL

// --- workers, ports, links --------------------------------------------------------------------------
inline constexpr std::uint32_t kMaxWorkers = 32;
inline constexpr std::uint32_t kMaxPorts = 32;                 // Debian's DPDK allows 32 ethdev ports
inline constexpr std::uint32_t kMaxLinks = 16384;              // link 0 is never used
inline constexpr std::uint32_t kMaxBurst = 32;
inline constexpr std::uint32_t kHousekeepingLoops = 256;       // loops between two housekeeping edges

// --- routes -----------------------------------------------------------------------------------------
inline constexpr std::uint32_t kDefaultMaxRoutes = 4u << 20;   // subscriptions that the node holds
inline constexpr std::uint32_t kMaxMaxRoutes = 64u << 20;      // what it can be set to
inline constexpr std::uint32_t kDefaultLinkSubscriptions = 1u << 20;  // held by one link
inline constexpr std::uint32_t kLeastLoadedWindow = 16;        // links that one least-loaded choice compares

// --- buffers ----------------------------------------------------------------------------------------
inline constexpr std::size_t kCopyBytes = 512;                 // bodies up to this are copied, above they are referenced
inline constexpr std::size_t kSlabPieceBytes = 32u << 10;      // one receive slab piece
inline constexpr std::size_t kMbufDataBytes = 2048;            // data room behind the headroom
inline constexpr std::uint32_t kMaxGather = 1024;              // pieces of one stream send (IOV_MAX)
inline constexpr std::size_t kLinkQueueBytes = 8u << 20;       // queued towards one stream link
inline constexpr std::size_t kNodeBudgetBytes = 256u << 20;    // held by the whole node: partial, queued, being joined

inline constexpr std::uint16_t kMbufHeadroomBytes = 128;        // room before a frame: Ethernet, VLAN, IPv6, UDP, shim
inline constexpr std::uint32_t kDefaultMbufs = 16'384;         // in each pool
inline constexpr std::uint32_t kMinMbufs = 1'024;
inline constexpr std::uint32_t kMaxMbufs = 4u << 20;

// --- DPDK ports and datagrams -----------------------------------------------------------------------
inline constexpr std::uint32_t kMaxPortAddresses = 8;          // of one port, its link-local one included
inline constexpr std::uint32_t kMaxPortRoutes = 256;           // static routes of one port
inline constexpr std::uint32_t kMaxNeighbors = 4'096;          // next hops that one port resolves
inline constexpr std::uint16_t kMinPortMtu = 1'280;            // IPv6 asks for it
inline constexpr std::uint16_t kMaxPortMtu = 9'600;
inline constexpr std::size_t kMinDatagramBytes = 1'024;        // least LinkRecord::datagram_bytes
inline constexpr std::size_t kMaxOuterPacketBytes = kMbufHeadroomBytes - kShimBytes;  // Ethernet to UDP
inline constexpr std::uint32_t kMaxPieces = 128;               // pieces of one frame on a datagram link
inline constexpr std::size_t kMinPieceBytes = 512;             // of a frame, except the last
inline constexpr std::uint32_t kMaxJoins = 512;                // frames being joined by one worker
inline constexpr std::uint32_t kMaxJoinsPerLink = 64;
inline constexpr std::size_t kJoinBytes = 8u << 20;            // their bytes

// --- what upstream applications speak ----------------------------------------------------------------
inline constexpr std::size_t kMaxUpstreamMessageBytes = 4u << 20;  // gRPC's own limit, in and out
inline constexpr std::size_t kEdgeContentCopyBytes = 1'280;    // contents up to this are copied into a translated message's front
inline constexpr std::size_t kMaxKeptRuns = 64;                // stretches of one upstream message that a frame keeps
inline constexpr std::size_t kMaxUnknownGroups = 64;           // protobuf groups inside one another; upstream gives up at 100
inline constexpr std::size_t kTranslateScratchBytes = 1536;    // least scratch for one translation
inline constexpr std::size_t kTranslateStructureBytes = 640;   // of it, for what is always written there
inline constexpr std::size_t kMacMemoEntries = 1024;           // headers whose MAC a worker remembers
inline constexpr std::size_t kMacMemoHeaderBytes = 960;        // the largest of them, as far as the MAC covers it
inline constexpr std::size_t kMacBatch = 16;                   // header MACs that are computed side by side
inline constexpr std::size_t kEncodedEntries = 256;            // messages on their way that a worker keeps encoded
inline constexpr std::size_t kMaxLinkIdBytes = 1024;           // of a negotiated link
inline constexpr std::size_t kMaxNegotiationBytes = 16u << 10; // a negotiation message
inline constexpr std::uint64_t kNegotiationTimeoutMs = 5'000;

// --- byte streams of edges --------------------------------------------------------------------------
inline constexpr std::uint32_t kMaxGrpcMessageBytes = 4u << 20;        // upstream's, both ways
inline constexpr std::uint32_t kMaxWebSocketMessageBytes = 64u << 20;  // upstream's
inline constexpr std::uint32_t kMaxEdgeStreams = 100;          // open at once on one HTTP/2 connection
inline constexpr std::uint32_t kMaxEdgeHeaderBytes = 16u << 10;  // of one request, as HTTP/2 counts them
inline constexpr std::size_t kEdgeCopyBytes = 2'048;           // messages up to this are copied on their way out
inline constexpr std::size_t kEdgeOutputBytes = 256u << 10;    // framed and not yet sent, of one connection
inline constexpr std::size_t kEdgeOutputSegments = kMaxGather; // ... and in so many pieces
inline constexpr std::uint32_t kEdgeControlBurst = 2'000;      // control frames that a peer may send at once
inline constexpr std::uint32_t kEdgeControlPerSecond = 500;    // ... and on average, besides those that our data explains
inline constexpr std::uint32_t kEdgeResetBurst = 200;          // streams that a peer may reset at once, of the same allowance
inline constexpr std::size_t kMaxEdgeAcks = 64;                // acknowledgements that wait for the peer to read
inline constexpr std::size_t kEdgeRoomBytes = 16u << 10;       // least room for decrypted or unmasked bytes in one call
inline constexpr std::size_t kMaxJwtBytes = 8u << 10;
inline constexpr std::size_t kEdgeMemoryBytes = 512u << 20;     // HTTP/2 and TLS state of one worker's connections
inline constexpr std::size_t kEdgePendingBytes = 256u << 10;   // of one connection: given to HTTP/2 and not yet framed
inline constexpr std::size_t kMaxEdgeTextBytes = 256;          // why a connection ended
inline constexpr std::uint64_t kEdgeEndMs = 1'000;             // for the last bytes to a peer that ended its stream
inline constexpr std::uint64_t kEdgeTickMs = 250;              // deadlines of connections are looked at so often
inline constexpr std::uint64_t kEdgeHandshakeMs = 10'000;      // until the first stream is open
inline constexpr std::uint64_t kEdgeKeepaliveMs = 120'000;     // upstream's defaults of a server
inline constexpr std::uint64_t kEdgeKeepaliveTimeoutMs = 20'000;

// --- time -------------------------------------------------------------------------------------------
inline constexpr std::uint64_t kJoinDeadlineMs = 100;          // all fragments of a datagram frame
inline constexpr std::uint64_t kPartialDeadlineMs = 10'000;    // all bytes of a frame that a stream has begun
inline constexpr std::uint64_t kStallNoByteMs = 250;           // a full queue that takes no byte: stalled
inline constexpr std::uint64_t kStallWindowMs = 1'000;         // a full queue that takes less than
inline constexpr std::size_t kStallWindowBytes = 1u << 20;     //   this in that time: stalled
inline constexpr std::uint64_t kStallDisconnectMs = 30'000;
inline constexpr std::uint64_t kApplyDeadlineMs = 1'000;       // a table change on every worker

// --- rings between threads --------------------------------------------------------------------------
inline constexpr std::uint32_t kHandoffRingFrames = 4096;      // worker to worker
inline constexpr std::size_t kCommandRingBytes = 4u << 20;     // control thread to a worker
inline constexpr std::size_t kEventRingBytes = 4u << 20;       // a worker to the control thread
inline constexpr std::size_t kMaxMailBytes = 64u << 10;        // one record of either
inline constexpr std::size_t kMaxLocalFrameBytes = 48u << 10;    // to an application inside the node: one record of the event ring
inline constexpr std::size_t kInjectPieceBytes = 48u << 10;      // of a publish of an application inside the node
inline constexpr std::uint32_t kCommandsPerLoop = 256;         // commands that a worker applies between two bursts

// --- one worker -------------------------------------------------------------------------------------
inline constexpr std::uint32_t kFanoutPerLoop = 512;           // copies of fan-outs made between two flushes
inline constexpr std::uint32_t kMaxPendingFanouts = 256;       // frames whose fan-out goes on in a later loop
inline constexpr std::uint32_t kHandoffRoom = 2048;            // entries kept free before streams are read again
inline constexpr std::uint32_t kSocketBursts = 4;              // bursts taken from sockets in one loop
inline constexpr std::uint16_t kMaxHeldFrames = 4096;          // that wait for next hops, all links
inline constexpr std::uint16_t kMaxHeldPerLink = 64;
inline constexpr std::uint64_t kHoldMs = 3'000;                // and how long
inline constexpr std::size_t kEventReserveBytes = 1u << 20;    // of the event ring, for records that must not be lost
inline constexpr std::size_t kControlRoomBytes =               // of the event ring: with less free, control frames stay in their streams
    kEventReserveBytes + kMaxBurst * (kMaxControlFrameBytes + 256);
inline constexpr std::uint32_t kPuntsPerSecond = 200'000;      // control frames of one link
inline constexpr std::uint32_t kNoticesPerSecond = 100;        // Event::kNoRoute of one link
inline constexpr std::uint64_t kNoticeDelayMs = 20;            // what the rate held back is told together after this
inline constexpr std::uint32_t kMaxOwedNotices = 64;           // links of one worker that are owed such a notice
inline constexpr std::uint32_t kPortPuntsPerSecond = 2'000;    // hellos and neighbour packets of one port
inline constexpr std::uint32_t kMaxSnapBytes = 16u << 10;      // of a captured frame
inline constexpr std::uint32_t kMaxNapUs = 250;                // longest nap of a poll worker
inline constexpr std::uint64_t kSlowLoopUs = 1'000;            // a longer loop is counted in slow_loops

static_assert(kHandoffRoom >= kFanoutPerLoop + kSocketBursts * kMaxBurst && kHandoffRoom <= kHandoffRingFrames / 2);
static_assert(kMaxPendingFanouts >= 4 * kMaxBurst);
static_assert(kControlRoomBytes <= kEventRingBytes / 2, "a burst of the largest control frames fits beside the reserve");
static_assert(kMaxSnapBytes + 256 <= kMaxMailBytes);
static_assert(kCopyBytes + kFrameHeaderBytes <= kMbufDataBytes, "a copied frame fits one mbuf");
static_assert(kMaxControlFrameBytes + 256 <= kMaxMailBytes, "a punted frame fits one record");
static_assert(kMaxLocalFrameBytes + 256 <= kMaxMailBytes && kInjectPieceBytes + 256 <= kMaxMailBytes);
static_assert(kMaxMailBytes * 4 <= kCommandRingBytes && kMaxMailBytes * 4 <= kEventRingBytes);
static_assert(kMaxDatagramFrameBytes <= kMaxFrameBytes);
static_assert(kMaxPieces * kMinPieceBytes >= kMaxDatagramFrameBytes, "the smallest allowed pieces still make the largest frame");
static_assert(kMinDatagramBytes - kShimBytes >= kMinPieceBytes + kFrameHeaderBytes);
static_assert(kMinPieceBytes >= kFrameHeaderBytes && kMaxDatagramFrameBytes * 4 <= kJoinBytes);
static_assert(14 + 4 + 40 + 8 <= kMaxOuterPacketBytes, "outer headers and shim fit the headroom");
static_assert(kLinkQueueBytes < kNodeBudgetBytes);
static_assert(kTranslateStructureBytes + kCopyBytes < kTranslateScratchBytes && kTranslateScratchBytes <= kMbufDataBytes,
              "a small message is translated into one buffer");
static_assert(kMaxUpstreamMessageBytes <= kMaxFrameBytes);

}  // namespace slipway

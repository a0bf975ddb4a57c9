// ts-mls behind the requests of `slipway-mls client` (tools/mls/README.md), as far as the tests need them.
import { createInterface } from "node:readline"
import { p256 } from "@noble/curves/nist.js"
import {
  acceptAll, createApplicationMessage, createCommit, createGroup, decodeMlsMessage, defaultCapabilities, defaultLifetime,
  emptyPskIndex, encodeMlsMessage, generateKeyPackage, generateKeyPackageWithKey,
  getCiphersuiteFromName, getCiphersuiteImpl, joinGroup, mlsExporter,
  processPrivateMessage, processPublicMessage,
} from "ts-mls"

const hex = (bytes) => Buffer.from(bytes).toString("hex")
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"))
const message = (wireformat, field, value) => hex(encodeMlsMessage({ version: "mls10", wireformat, [field]: value }))
const decode = (text) => decodeMlsMessage(bytes(text), 0)[0]

let impl, credential, state, key, asPublic
const packages = []
const suiteNames = { 1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", 2: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256" }

// The P-256 signature keys that ts-mls makes are compressed points, which RFC 9420 (5.1.1) does not allow; it takes others.
async function newKeyPackage() {
  if (impl.name !== suiteNames[2]) return generateKeyPackage(credential, defaultCapabilities(), defaultLifetime, [], impl)
  const signKey = p256.utils.randomSecretKey()
  return generateKeyPackageWithKey(credential, defaultCapabilities(), defaultLifetime, [],
    { signKey, publicKey: p256.getPublicKey(signKey, false) }, impl)
}

const verbs = {
  async identity({ suite, name, wire_format }) {
    impl = await getCiphersuiteImpl(getCiphersuiteFromName(suiteNames[suite]))
    credential = { credentialType: "basic", identity: new TextEncoder().encode(name) }
    asPublic = wire_format === "public"
  },
  async key_package() {
    key = await newKeyPackage()
    packages.push(key)
    return { key_package: message("mls_key_package", "keyPackage", key.publicPackage) }
  },
  async create({ group_id }) {
    const own = await newKeyPackage()
    state = await createGroup(bytes(group_id), own.publicPackage, own.privatePackage, [], impl)
  },
  async join({ welcome }) {
    const own = packages.pop()
    state = await joinGroup(decode(welcome).welcome, own.publicPackage, own.privatePackage, emptyPskIndex, impl)
  },
  // The new epoch serves at once.
  async commit({ add = [], remove = [] }) {
    const extraProposals = [
      ...add.map((each) => ({ proposalType: "add", add: { keyPackage: decode(each).keyPackage } })),
      ...remove.map((removed) => ({ proposalType: "remove", remove: { removed } })),
    ]
    const made = await createCommit({ state, cipherSuite: impl },
      { extraProposals, ratchetTreeExtension: true, wireAsPublicMessage: asPublic })
    state = made.newState
    return {
      commit: hex(encodeMlsMessage(made.commit)),
      ...(made.welcome && { welcome: message("mls_welcome", "welcome", made.welcome) }),
    }
  },
  async process({ message: text }) {
    const incoming = decode(text)
    const result = incoming.wireformat === "mls_private_message"
      ? await processPrivateMessage(state, incoming.privateMessage, emptyPskIndex, impl)
      : await processPublicMessage(state, incoming.publicMessage, emptyPskIndex, impl, acceptAll)
    state = result.newState
    return result.kind === "applicationMessage" ? { kind: "application", plaintext: hex(result.message) } : { kind: "handshake" }
  },
  async protect({ plaintext }) {
    const made = await createApplicationMessage(state, bytes(plaintext), impl)
    state = made.newState
    return { message: message("mls_private_message", "privateMessage", made.privateMessage) }
  },
  async export({ label, context, size }) {
    return { secret: hex(await mlsExporter(state.keySchedule.exporterSecret, label, bytes(context), size, impl)) }
  },
  async state() {
    return {
      epoch: Number(state.groupContext.epoch),
      epoch_authenticator: hex(state.keySchedule.epochAuthenticator),
      tree_hash: hex(state.groupContext.treeHash),
    }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  let answer
  try {
    answer = { ok: true, ...(await verbs[request.op](request)) }
  } catch (error) {
    answer = { ok: false, error: error.name, text: String(error.stack) }
  }
  console.log(JSON.stringify(answer))
}

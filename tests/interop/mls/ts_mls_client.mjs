// ts-mls behind the requests of `slipway-mls client` (tools/mls/README.md), as far as it has what they need.
import { createInterface } from "node:readline"
import { p256 } from "@noble/curves/nist.js"
import {
  acceptAll, branchGroup, bytesToBase64, createApplicationMessage, createCommit, createGroup,
  createProposal, decodeMlsMessage, defaultCapabilities, defaultLifetime,
  encodeMlsMessage, generateKeyPackageWithKey, getCiphersuiteFromName, getCiphersuiteImpl, joinGroup, joinGroupExternal,
  joinGroupFromBranch, joinGroupFromReinit, makePskIndex, mlsExporter, processPrivateMessage, processPublicMessage, proposeAddExternal,
  reinitCreateNewGroup,
} from "ts-mls"
// These are not among its public exports.
import { createGroupInfoWithRatchetTree } from "./node_modules/ts-mls/dist/src/createCommit.js"
import { decodeRatchetTree, encodeRatchetTree } from "./node_modules/ts-mls/dist/src/ratchetTree.js"

const hex = (bytes) => Buffer.from(bytes).toString("hex")
const bytes = (text) => new Uint8Array(Buffer.from(text ?? "", "hex"))
const message = (wireformat, field, value) => hex(encodeMlsMessage({ version: "mls10", wireformat, [field]: value }))
const decode = (text) => decodeMlsMessage(bytes(text), 0)[0]
const treeOf = (request) => (request.tree ? decodeRatchetTree(bytes(request.tree), 0)[0] : undefined)
const extensionsOf = (list) => list.map(({ type, data }) => ({ extensionType: type, extensionData: bytes(data) }))
const suiteNames = { 1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", 2: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256" }

let impl, credential, capabilities, keys, state, pending, asPublic
let packages = []
let psks = {}
const pskIndex = () => makePskIndex(state, psks)

// The P-256 signature keys that ts-mls makes are compressed points, which RFC 9420 (5.1.1) does not allow; it takes others.
async function newKeys() {
  if (impl.name !== suiteNames[2]) return impl.signature.keygen()
  const signKey = p256.utils.randomSecretKey()
  return { signKey, publicKey: p256.getPublicKey(signKey, false) }
}

// ts-mls holds that the data of an external_pub extension is a bare public key. RFC 9420 (12.4.3.2) has it in a struct,
// as a vector: with its length in front. Both ways are put right here.
const vector = (data) => new Uint8Array([...(data.length < 64 ? [data.length] : [0x40, data.length]), ...data])
const withoutLength = (key, size) => (key.length > size ? key.subarray(key.length - size) : key)
function externalPubImpl() {
  const size = impl.name === suiteNames[2] ? 65 : 32
  return { ...impl, hpke: { ...impl.hpke, importPublicKey: (key) => impl.hpke.importPublicKey(withoutLength(key, size)) } }
}

const newKeyPackage = () => generateKeyPackageWithKey(credential, capabilities, defaultLifetime, [], keys, impl)

const externalPsk = (id) => ({
  proposalType: "psk",
  psk: { preSharedKeyId: { psktype: "external", pskId: bytes(id), pskNonce: impl.rng.randomBytes(impl.kdf.size) } },
})
const resumptionPsk = (epoch) => ({
  proposalType: "psk",
  psk: {
    preSharedKeyId: {
      psktype: "resumption", usage: "application", pskGroupId: state.groupContext.groupId, pskEpoch: BigInt(epoch),
      pskNonce: impl.rng.randomBytes(impl.kdf.size),
    },
  },
})

function proposalsOf({ add = [], remove = [], psks = [], resumption_psks = [], extensions, reinit }) {
  return [
    ...(extensions
      ? [{ proposalType: "group_context_extensions", groupContextExtensions: { extensions: extensionsOf(extensions) } }]
      : []),
    ...add.map((each) => ({ proposalType: "add", add: { keyPackage: decode(each).keyPackage } })),
    ...remove.map((removed) => ({ proposalType: "remove", remove: { removed } })),
    ...psks.map(externalPsk),
    ...resumption_psks.map(resumptionPsk),
    ...(reinit
      ? [{
          proposalType: "reinit",
          reinit: { groupId: bytes(reinit.group_id), version: "mls10", cipherSuite: impl.name, extensions: [] },
        }]
      : []),
  ]
}

async function propose(proposal, authenticated_data) {
  const made = await createProposal(state, asPublic, proposal, impl, bytes(authenticated_data))
  state = made.newState
  return { proposal: hex(encodeMlsMessage(made.message)) }
}

const about = () => ({ epoch: Number(state.groupContext.epoch), own_leaf: state.privatePath.leafIndex })

const verbs = {
  // Starts anew.
  async identity({ suite, name, wire_format, extension_types = [] }) {
    impl = await getCiphersuiteImpl(getCiphersuiteFromName(suiteNames[suite]))
    credential = { credentialType: "basic", identity: new TextEncoder().encode(name) }
    capabilities = { ...defaultCapabilities(), extensions: extension_types }
    asPublic = wire_format === "public"
    keys = await newKeys()
    state = undefined
    packages = []
    psks = {}
    return { signature_key: hex(keys.publicKey) }
  },
  async key_package() {
    const made = await newKeyPackage()
    packages.push(made)
    return { key_package: message("mls_key_package", "keyPackage", made.publicPackage) }
  },
  async psk({ psk_id, secret }) {
    psks[bytesToBase64(bytes(psk_id))] = bytes(secret)
  },
  async create({ group_id, extensions = [] }) {
    const own = await newKeyPackage()
    state = await createGroup(bytes(group_id), own.publicPackage, own.privatePackage, extensionsOf(extensions), impl)
    return about()
  },
  async join(request) {
    const own = packages.pop()
    const welcome = decode(request.welcome).welcome
    const tree = treeOf(request)
    if (request.predecessor === undefined) {
      state = await joinGroup(welcome, own.publicPackage, own.privatePackage, makePskIndex(undefined, psks), impl, tree)
    } else if (request.usage === "reinit") {
      state = await joinGroupFromReinit(state, welcome, own.publicPackage, own.privatePackage, tree)
    } else {
      state = await joinGroupFromBranch(state, welcome, own.publicPackage, own.privatePackage, tree, impl)
    }
    return about()
  },
  async successor({ usage, group_id, key_packages }) {
    const own = await newKeyPackage()
    const others = key_packages.map((each) => decode(each).keyPackage)
    const made = usage === "reinit"
      ? await reinitCreateNewGroup(state, own.publicPackage, own.privatePackage, others, bytes(group_id), impl.name, [])
      : await branchGroup(state, own.publicPackage, own.privatePackage, others, bytes(group_id), impl)
    state = made.newState
    // It puts no tree into these Welcomes.
    return { welcome: message("mls_welcome", "welcome", made.welcome), tree: hex(encodeRatchetTree(state.ratchetTree)) }
  },
  async external_join(request) {
    const own = await newKeyPackage()
    const made = await joinGroupExternal(decode(request.group_info).groupInfo, own.publicPackage, own.privatePackage,
      request.remove !== undefined, externalPubImpl(), treeOf(request), undefined, bytes(request.authenticated_data))
    state = made.newState
    return { ...about(), commit: message("mls_public_message", "publicMessage", made.publicMessage) }
  },
  add: ({ key_package, authenticated_data }) => propose(proposalsOf({ add: [key_package] })[0], authenticated_data),
  remove: ({ leaf, authenticated_data }) => propose(proposalsOf({ remove: [leaf] })[0], authenticated_data),
  propose_psk: ({ psk_id, authenticated_data }) => propose(externalPsk(psk_id), authenticated_data),
  propose_resumption_psk: ({ psk_epoch, authenticated_data }) => propose(resumptionPsk(psk_epoch), authenticated_data),
  propose_reinit: ({ reinit, authenticated_data }) => propose(proposalsOf({ reinit })[0], authenticated_data),
  propose_extensions: ({ extensions, authenticated_data }) => propose(proposalsOf({ extensions })[0], authenticated_data),
  async propose_join({ group_info, authenticated_data }) {
    const own = await newKeyPackage()
    packages.push(own)
    const made = await proposeAddExternal(
      decode(group_info).groupInfo, own.publicPackage, own.privatePackage, impl, bytes(authenticated_data))
    return { proposal: hex(encodeMlsMessage(made)) }
  },
  // A commit with nothing to propose has a path.
  async commit(request) {
    const inside = request.tree_in_welcome !== false
    const made = await createCommit({ state, cipherSuite: impl, pskIndex: pskIndex() }, {
      extraProposals: proposalsOf(request), ratchetTreeExtension: inside, wireAsPublicMessage: asPublic,
      authenticatedData: bytes(request.authenticated_data),
    })
    pending = made.newState
    if (request.accept) verbs.accept()
    return {
      commit: hex(encodeMlsMessage(made.commit)),
      ...(made.welcome && { welcome: message("mls_welcome", "welcome", made.welcome) }),
      ...(inside ? {} : { tree: hex(encodeRatchetTree(made.newState.ratchetTree)) }),
    }
  },
  accept() {
    state = pending
    pending = undefined
  },
  refuse() {
    pending = undefined
  },
  async process({ message: text }) {
    const incoming = decode(text)
    const isPrivate = incoming.wireformat === "mls_private_message"
    const result = isPrivate
      ? await processPrivateMessage(state, incoming.privateMessage, pskIndex(), impl)
      : await processPublicMessage(state, incoming.publicMessage, pskIndex(), impl, acceptAll)
    state = result.newState
    return result.kind === "applicationMessage"
      ? {
          kind: "application", plaintext: hex(result.message),
          authenticated_data: hex(incoming.privateMessage.authenticatedData),
        }
      : { kind: "handshake" }
  },
  async protect({ plaintext, authenticated_data }) {
    const made = await createApplicationMessage(state, bytes(plaintext), impl, bytes(authenticated_data))
    state = made.newState
    return { message: message("mls_private_message", "privateMessage", made.privateMessage) }
  },
  async export({ label, context, size }) {
    return { secret: hex(await mlsExporter(state.keySchedule.exporterSecret, label, bytes(context), size, impl)) }
  },
  async group_info() {
    const pair = await impl.hpke.deriveKeyPair(state.keySchedule.externalSecret)
    const extension = {
      extensionType: "external_pub", extensionData: vector(await impl.hpke.exportPublicKey(pair.publicKey)),
    }
    const made = await createGroupInfoWithRatchetTree(
      state.groupContext, state.confirmationTag, state, state.ratchetTree, [extension], impl)
    return { group_info: message("mls_group_info", "groupInfo", made) }
  },
  async state() {
    const members = state.ratchetTree.flatMap((node, index) => node?.nodeType === "leaf"
      ? [{ leaf: index / 2, name: new TextDecoder().decode(node.leaf.credential.identity) }]
      : [])
    return {
      ...about(), members,
      epoch_authenticator: hex(state.keySchedule.epochAuthenticator),
      tree_hash: hex(state.groupContext.treeHash),
    }
  },
  async leave() {
    state = undefined
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  let answer
  try {
    if (!(request.op in verbs)) throw new Error(`no such op: ${request.op}`)
    answer = { ok: true, ...(await verbs[request.op](request)) }
  } catch (error) {
    answer = { ok: false, error: error.name, text: String(error.stack) }
  }
  console.log(JSON.stringify(answer))
}

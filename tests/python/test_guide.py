"""The calls of SLIM's guide, as it writes them: each piece runs by itself, between processes, through a node."""
import datetime
import subprocess

import pytest
from applications import SECRET, Peer, run

import slipway as slim_bindings
from slipway import PyName, split_id


async def application(node, name="org/ns/alice"):
    """As the guide makes one from a shared secret."""
    provider = slim_bindings.PyIdentityProvider.SharedSecret(identity=name, shared_secret=SECRET)
    verifier = slim_bindings.PyIdentityVerifier.SharedSecret(identity=name, shared_secret=SECRET)
    local_app = await slim_bindings.Slim.new(split_id(name), provider, verifier)
    await local_app.connect({"endpoint": node.tcp, "tls": {"insecure": True}})
    return local_app


def test_names():
    name = split_id("org/ns/app")
    assert name == PyName("org", "ns", "app") and hash(name) == hash(PyName("org", "ns", "app"))
    assert name.components() == ["org", "ns", "app"] and name.id is None and str(name) == "org/ns/app"
    one = PyName("org", "ns", "app", 2**64 + 5)
    assert one != name and one.id == 2**64 + 5 and split_id(str(one)) == one and one.service() == name
    for wrong in ("org/ns", "org/ns/app/x/y", ""):
        with pytest.raises(ValueError):
            split_id(wrong)
    with pytest.raises(ValueError):
        PyName("org", "", "app")
    with pytest.raises(ValueError):
        PyName("org", "ns", "app", 2**128)


def test_anycast(node):
    async def main(worker):
        local_app = await application(node)
        remote_name = split_id("org/ns/worker")
        session = await local_app.create_session(
            slim_bindings.PySessionConfiguration.Anycast(max_retries=5, timeout=datetime.timedelta(seconds=5)))
        assert session.dst is None and session.reliable and not session.mls_enabled
        await session.publish_with_destination(b"hello", remote_name)
        msg_ctx, payload = await session.get_message()
        assert payload == b"echo hello" and str(msg_ctx.source_name) == worker.name
        with pytest.raises(slim_bindings.WrongKindError, match="expected UNICAST or MULTICAST"):
            await session.publish(b"hello")
        await local_app.delete_session(session)
        await local_app.close()

    with Peer(node, "org/ns/worker") as worker:
        run(main(worker))
        assert worker.read("heard")["heard"] == "hello"


def test_anycast_is_spread(node):
    async def main():
        local_app = await application(node)
        session = await local_app.create_session(slim_bindings.PySessionConfiguration.Anycast(timeout=5))
        sources = set()
        for i in range(40):
            await session.publish_with_destination(str(i).encode(), split_id("org/ns/worker"))
            msg_ctx, payload = await session.get_message()
            assert payload == f"echo {i}".encode()
            sources.add(msg_ctx.source_name)
        await local_app.close()
        return {str(source) for source in sources}

    with Peer(node, "org/ns/worker") as one, Peer(node, "org/ns/worker") as two:
        assert run(main()) == {one.name, two.name}


@pytest.mark.parametrize("mls", [None, True, False])
def test_unicast(node, mls):
    async def main(bob):
        local_app = await application(node)
        remote_name = split_id("org/ns/bob")
        await local_app.set_route(remote_name)
        settings = {} if mls is None else {"mls_enabled": mls}
        session = await local_app.create_session(slim_bindings.PySessionConfiguration.Unicast(
            unicast_name=remote_name, max_retries=5, timeout=datetime.timedelta(seconds=5), metadata={"colour": "blue"}, **settings))
        assert isinstance(session, slim_bindings.PySession) and session.session_type == "unicast"
        assert session.mls_enabled is (mls is not False)  # left out: on
        await session.publish(b"hello")
        msg_ctx, payload = await session.get_message()
        assert payload == b"echo hello" and str(msg_ctx.source_name) == bob.name
        await session.publish_to(msg_ctx, b"hi")
        assert (await session.get_message())[1] == b"echo hi"
        with pytest.raises(slim_bindings.WrongKindError, match="expected ANYCAST"):
            await session.publish_with_destination(b"hello", remote_name)
        await local_app.delete_session(session)
        with pytest.raises(slim_bindings.ClosedError):
            await session.get_message()
        with pytest.raises(RuntimeError):  # what callers of the guide's time catch
            await session.publish(b"late")
        await local_app.close()

    with Peer(node, "org/ns/bob") as bob:
        run(main(bob))
        opened = bob.read("opened")
        assert opened["opened"] == "unicast" and opened["mls"] is (mls is not False) and opened["reliable"] and opened["metadata"]["colour"] == "blue"
        bob.read("closed")


@pytest.mark.parametrize("word", ["topic", "channel_name"])
def test_multicast(node, word):
    async def main(bob, carol):
        local_app = await application(node)
        chat_topic = split_id("org/ns/chat")
        session = await local_app.create_session(slim_bindings.PySessionConfiguration.Multicast(
            **{word: chat_topic}, max_retries=5, timeout=datetime.timedelta(seconds=5), mls_enabled=True))
        for name in ("org/ns/bob", "org/ns/carol"):
            await local_app.set_route(split_id(name))
            await session.invite(split_id(name))
        assert len(await session.participants()) == 3
        await session.publish(b"hello")
        answers = [await session.get_message(), await session.get_message()]
        assert {str(msg_ctx.source_name) for msg_ctx, _ in answers} == {bob.name, carol.name}
        assert {payload for _, payload in answers} == {b"echo hello"}
        await session.remove(split_id("org/ns/carol"))
        assert bob.read("heard")["heard"] == "hello" and carol.read("closed")
        await session.publish(b"again")
        assert (await session.get_message())[1] == b"echo again"
        with pytest.raises(slim_bindings.MembershipError):
            await session.remove(split_id("org/ns/nobody"))
        await local_app.delete_session(session)
        await local_app.close()

    with Peer(node, "org/ns/bob") as bob, Peer(node, "org/ns/carol") as carol:
        run(main(bob, carol))
        bob.read("closed")


def test_listening(node):
    async def main():
        bob = await application(node, "org/ns/bob")
        alice = await application(node, "org/ns/alice")
        made = await alice.create_session(slim_bindings.PySessionConfiguration.Unicast(unicast_name=split_id("org/ns/bob"), timeout=1))
        heard = await bob.listen_for_session()
        assert heard.id == made.id and heard.src == bob.local_name and heard.dst == alice.local_name
        await made.publish(b"one", payload_type="text", metadata={"k": "v"})
        msg_ctx, payload = await heard.get_message()
        assert (payload, msg_ctx.payload_type, msg_ctx.metadata["k"]) == (b"one", "text", "v")
        await alice.delete_session(made)
        with pytest.raises(slim_bindings.ClosedError):
            await heard.get_message()
        await alice.close()
        await bob.close()
    run(main())


def test_without_a_timeout_all_kinds_are_best_effort(node):
    async def main():
        bob = await application(node, "org/ns/bob")
        alice = await application(node, "org/ns/alice")
        kinds = slim_bindings.PySessionConfiguration
        for configuration in (kinds.Anycast(), kinds.Unicast(unicast_name=split_id("org/ns/bob")), kinds.Multicast(topic=split_id("org/ns/room"))):
            session = await alice.create_session(configuration)
            assert not session.reliable and session.mls_enabled is (configuration.kind != "anycast")
            if configuration.kind == "multicast":
                await session.invite(split_id("org/ns/bob"))
            if configuration.kind == "anycast":
                await session.publish_with_destination(b"x", split_id("org/ns/bob"))
            else:
                await session.publish(b"x")
            heard = await bob.listen_for_session()
            assert not heard.reliable and heard.session_type == configuration.kind
            assert (await heard.get_message())[1] == b"x"
            await session.close()
        await alice.close()
        await bob.close()
    run(main())


def test_settings_that_make_no_sense():
    kinds = slim_bindings.PySessionConfiguration
    with pytest.raises(slim_bindings.InvalidError, match="no MLS"):
        kinds.Anycast(mls_enabled=True)
    with pytest.warns(UserWarning, match="no effect without a timeout"):
        assert not kinds.Unicast(unicast_name=split_id("org/ns/bob"), max_retries=3).reliable
    assert kinds.Unicast(unicast_name=split_id("org/ns/bob"), timeout=2).reliable
    with pytest.raises(slim_bindings.InvalidError, match="topic="):
        kinds.Multicast()
    with pytest.raises(ValueError):
        kinds.Unicast(unicast_name=split_id("org/ns/bob"), timeout=datetime.timedelta(0))


def test_nobody_there(node):
    async def main():
        alice = await application(node)
        with pytest.raises(slim_bindings.NotFoundError, match="nobody"):
            await alice.create_session(slim_bindings.PySessionConfiguration.Unicast(unicast_name=split_id("org/ns/nobody"), timeout=0.05, max_retries=2))
        await alice.close()
    run(main())


def test_an_identity_that_cannot_be_used(node):
    async def main():
        provider = slim_bindings.PyIdentityProvider.SharedSecret(identity="alice", shared_secret="short")
        with pytest.raises(slim_bindings.IdentityError, match="at least 32"):
            await slim_bindings.Slim.new(split_id("org/ns/alice"), provider, slim_bindings.PyIdentityVerifier.SharedSecret("alice", "short"))
        with pytest.raises(slim_bindings.InvalidError):
            await (await slim_bindings.Slim.create("org/ns/alice", secret=SECRET)).connect("nonsense")
    run(main())


def test_json_web_tokens(node, tmp_path):
    def key(name):
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.public.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
        return [slim_bindings.PyKey(slim_bindings.PyAlgorithm.ES256, slim_bindings.PyKeyFormat.Pem, slim_bindings.PyKeyData.File(str(file)))
                for file in (private, public)]

    async def token_application(name, private, public):
        provider = slim_bindings.PyIdentityProvider.Jwt(private_key=private, subject=name, issuer="test", duration=datetime.timedelta(minutes=5))
        local_app = await slim_bindings.Slim.new(split_id(name), provider, slim_bindings.PyIdentityVerifier.Jwt(public_key=public, issuer="test"))
        await local_app.connect(node.tcp)
        return local_app

    async def main():
        trusted, stranger = key("trusted"), key("stranger")
        bob = await token_application("org/ns/bob", *trusted)
        alice = await token_application("org/ns/alice", *trusted)
        session = await alice.unicast(split_id("org/ns/bob"), timeout=1)
        await session.publish(b"hello")
        assert (await (await bob.listen_for_session()).get_message())[1] == b"hello"
        mallory = await token_application("org/ns/mallory", *stranger)
        with pytest.raises(slim_bindings.NotFoundError):
            await mallory.unicast(split_id("org/ns/bob"), timeout=0.05, max_retries=2)
        for app in (alice, bob, mallory):
            await app.close()
    run(main())

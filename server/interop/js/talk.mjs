// A conversation of server/interop/cases_test.go on a WebSocket: the browser's, or one with the same
// face. It judges nothing; its report is what the socket saw.

export function talk(socket, conversation, send = simply) {
	const messages = conversation.messages ?? [];
	const came = [];
	const report = { extensions: "", subprotocol: "", pongs: [], error: "" };
	const closeIfDone = () => {
		const { close } = conversation;
		if (came.length !== messages.length || !close) return;
		if (close.code === 1005) socket.close();
		else socket.close(close.code, close.reason);
	};
	socket.binaryType = "arraybuffer";
	socket.onopen = () => {
		report.extensions = socket.extensions;
		report.subprotocol = socket.protocol;
		for (const m of messages) send(socket, m, payload(m));
		closeIfDone();
	};
	socket.onmessage = ({ data }) => {
		came.push(data);
		closeIfDone();
	};
	socket.onerror = (e) => { report.error = e.message ?? "the browser does not say what went wrong"; };
	return new Promise((resolve) => {
		socket.onclose = async ({ code, reason }) => {
			report.close = { code, reason };
			report.heard = await Promise.all(came.map(heard));
			resolve(report);
		};
	});
}

// payload is what a message carries: text, or bytes. JSON has the bytes in base64.
function payload(m) {
	const bytes = Uint8Array.from(atob(m.data), (c) => c.charCodeAt(0));
	return m.text ? new TextDecoder().decode(bytes) : bytes;
}

function simply(socket, _, data) {
	socket.send(data);
}

async function heard(data) {
	const text = typeof data === "string";
	const bytes = text ? new TextEncoder().encode(data) : new Uint8Array(data);
	const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
	const hex = Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
	return { text, size: bytes.length, sha256: hex };
}

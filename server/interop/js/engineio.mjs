// engine.io's client over its websocket transport alone: sends what the server is to send back, waits for a
// heartbeat, and closes. It prints what came. The argument is the server's URL.
import { Socket } from "engine.io-client";

const say = ["hello", "größer, 深い, 🌊", "x".repeat(70000), new Uint8Array([0, 1, 254, 255]), new Uint8Array(70000)];
const socket = new Socket(process.argv[2], { transports: ["websocket"] });
const report = { id: "", transport: "", same: 0, heartbeats: 0, error: "" };
socket.binaryType = "arraybuffer";

socket.on("open", () => {
	report.id = socket.id;
	report.transport = socket.transport.name;
	for (const m of say) socket.send(m);
});
socket.on("message", (got) => {
	const want = say[report.same];
	const same = typeof want === "string" ? got === want : Buffer.compare(Buffer.from(got), Buffer.from(want)) === 0;
	if (same) report.same++;
	closeIfDone();
});
socket.on("ping", () => {
	report.heartbeats++;
	closeIfDone();
});
socket.on("error", (e) => { report.error = String(e.description ?? e); });
socket.on("close", (reason) => console.log(JSON.stringify({ ...report, reason })));

function closeIfDone() {
	if (report.same === say.length && report.heartbeats > 1) socket.close();
}

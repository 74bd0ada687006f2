// The model in motion, once for each kind of activation, side by side.
"use strict";
(() => {
  const { data, unpack, bytes, clock, colour, explorers } = report;
  const view = data.view, root = document.getElementById("model-view");
  const canvas = root.querySelector("canvas"), slider = root.querySelector("input");
  const times = unpack(view.times), frames = times.length;
  let renderer;
  try {
    renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
  } catch (error) {
    root.replaceChildren("This browser shows no 3D pictures (WebGL is switched off).");
    return;
  }

  const scene = new THREE.Scene(), world = new THREE.Group();
  scene.add(world);
  const camera = new THREE.PerspectiveCamera(30, 1, 0.05, 50);
  scene.add(camera, new THREE.HemisphereLight(0xffffff, 0x8a8078, 2.2));
  const lamp = new THREE.DirectionalLight(0xffffff, 1.6);
  lamp.position.set(0.5, 1, 1);
  camera.add(lamp);

  const up = new THREE.Vector3(...view.up);
  const centres = unpack(view.centre);
  const centre = (frame) => new THREE.Vector3(...centres.slice(3 * frame, 3 * frame + 3));

  // Bones: surfaces, or sticks between the joints.
  const bone = new THREE.MeshLambertMaterial({ color: 0xd8cdb4 });
  // A ball that stands for a body must not hide what lies in it.
  const glass = new THREE.MeshLambertMaterial({ color: 0xd8cdb4, transparent: true, opacity: 0.45, depthWrite: false });
  const bodies = view.bodies.map((body) => {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(unpack(body.vertices)), 3));
    geometry.setIndex(new THREE.BufferAttribute(new Uint32Array(bytes(body.triangles.data)), 1));
    geometry.computeVertexNormals();
    const mesh = new THREE.Mesh(geometry, body.solid ? glass : bone);
    mesh.matrixAutoUpdate = false;
    world.add(mesh);
    return { mesh, poses: unpack(body.poses) };
  });

  const rod = new THREE.CylinderGeometry(1, 1, 1, 10, 1, true), ball = new THREE.SphereGeometry(1, 10, 7);
  const nothing = new THREE.Matrix4().makeScale(0, 0, 0);

  function lines(count, material) {
    const made = [rod, ball].map((shape) => new THREE.InstancedMesh(shape, material, Math.max(count, 1)));
    made.forEach((mesh) => { mesh.frustumCulled = false; mesh.count = count; world.add(mesh); });
    return made;
  }

  const y = new THREE.Vector3(0, 1, 0), turn = new THREE.Quaternion(), matrix = new THREE.Matrix4();

  // One straight piece from a to b, with a ball at its beginning and (in the next place) at its end.
  function place([rods, balls], number, a, b, radius) {
    const along = b.clone().sub(a), length = along.length();
    turn.setFromUnitVectors(y, length > 1e-9 ? along.divideScalar(length) : y);
    rods.setMatrixAt(number, matrix.compose(a.clone().add(b).multiplyScalar(0.5), turn, new THREE.Vector3(radius, length, radius)));
    balls.setMatrixAt(number, matrix.compose(b, turn, new THREE.Vector3(radius, radius, radius)));
  }

  const [, stickCount] = view.sticks.shape, stickEnds = unpack(view.sticks);
  const sticks = lines(stickCount, bone);
  const STICK = 0.014;

  const muscles = view.muscles.map((muscle) => ({
    name: muscle.name,
    radius: muscle.radius,
    counts: muscle.counts,
    starts: muscle.counts.reduce((all, count) => [...all, all[all.length - 1] + count], [0]),
    points: unpack(muscle.points),
    activations: Object.fromEntries(Object.entries(muscle.activations).map(([kind, packed]) => [kind, unpack(packed)])),
    first: 0,
    places: Math.max(...muscle.counts) - 1,
  }));
  const pieces = muscles.reduce((sum, muscle) => { muscle.first = sum; return sum + muscle.places; }, 0);
  const owner = muscles.flatMap((muscle) => Array(muscle.places).fill(muscle));
  const flesh = lines(pieces, new THREE.MeshLambertMaterial({ color: 0xffffff }));

  // From rest to full activation, as in OpenSim's GUI: blue to red.
  const SCALE = ["#2038a8", "#8f3a9e", "#e0304a", "#ff5a1f"].map((text) => new THREE.Color(text));
  const unknown = new THREE.Color("#8a8a8a"), mixed = new THREE.Color();

  function shade(share) {
    const at = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1), low = Math.min(Math.floor(at), SCALE.length - 2);
    return mixed.copy(SCALE[low]).lerp(SCALE[low + 1], at - low);
  }

  function paint(kind) {
    muscles.forEach((muscle) => {
      const values = muscle.activations[kind];
      const value = values ? values[frame] : null;
      const tone = value === null ? unknown : shade(value / view.top);
      for (let k = muscle.first; k < muscle.first + muscle.places; k++) flesh.forEach((mesh) => mesh.setColorAt(k, tone));
    });
    flesh.forEach((mesh) => { mesh.instanceColor.needsUpdate = true; });
  }

  let frame = 0, chosen = null;

  function pose() {
    bodies.forEach(({ mesh, poses }) => mesh.matrix.set(...poses.slice(12 * frame, 12 * frame + 12), 0, 0, 0, 1));
    const end = (stick, k) => new THREE.Vector3(...stickEnds.slice(6 * (frame * stickCount + stick) + 3 * k, 6 * (frame * stickCount + stick) + 3 * k + 3));
    for (let stick = 0; stick < stickCount; stick++) place(sticks, stick, end(stick, 0), end(stick, 1), STICK);
    muscles.forEach((muscle) => {
      const begin = muscle.starts[frame], count = muscle.counts[frame];
      const point = (k) => new THREE.Vector3(...muscle.points.slice(3 * (begin + k), 3 * (begin + k) + 3));
      const radius = muscle.radius * (muscle.name === chosen ? 2 : 1);
      for (let k = 0; k < muscle.places; k++) {
        if (k + 1 < count) place(flesh, muscle.first + k, point(k), point(k + 1), radius);
        else flesh.forEach((mesh) => mesh.setMatrixAt(muscle.first + k, nothing));
      }
    });
    [...sticks, ...flesh].forEach((mesh) => { mesh.instanceMatrix.needsUpdate = true; mesh.boundingSphere = null; });
    // The body stays in the picture and the ground passes below it.
    const moved = centre(frame).sub(centre(0));
    world.position.copy(moved.addScaledVector(up, -moved.dot(up)).negate());
  }

  // The ground is at the lowest point of all bones and all times.
  pose();
  world.updateMatrixWorld(true);
  let lowest = Infinity, highest = -Infinity, reach = 0;
  function stretch(point, at) {
    const height = point.dot(up);
    lowest = Math.min(lowest, height);
    highest = Math.max(highest, height);
    // From the vertical line through the body's middle, with which the view goes.
    const away = point.sub(centre(at));
    reach = Math.max(reach, Math.sqrt(Math.max(away.lengthSq() - away.dot(up) ** 2, 0)));
  }
  for (let k = 0; k < stickEnds.length; k += 3) stretch(new THREE.Vector3(...stickEnds.slice(k, k + 3)), Math.floor(k / (6 * stickCount)));
  bodies.forEach(({ mesh, poses }) => {
    mesh.geometry.computeBoundingBox();
    const { min, max } = mesh.geometry.boundingBox;
    for (let at = 0; at < frames; at += 5) {
      const here = new THREE.Matrix4().set(...poses.slice(12 * at, 12 * at + 12), 0, 0, 0, 1);
      for (const x of [min.x, max.x]) for (const h of [min.y, max.y]) for (const z of [min.z, max.z]) stretch(new THREE.Vector3(x, h, z).applyMatrix4(here), at);
    }
  });
  muscles.forEach((muscle) => {
    for (let at = 0; at < frames; at++) {
      for (let k = 0; k < muscle.counts[at]; k++) {
        const first = 3 * (muscle.starts[at] + k);
        stretch(new THREE.Vector3(...muscle.points.slice(first, first + 3)), at);
      }
    }
  });
  const path = centre(frames - 1).sub(centre(0));
  const floor = new THREE.GridHelper(Math.ceil(4 + 2 * path.length()), 4 * Math.ceil(4 + 2 * path.length()), colour("line"), colour("line"));
  floor.quaternion.setFromUnitVectors(y, up);
  floor.position.copy(centre(0)).addScaledVector(up, lowest - centre(0).dot(up));
  world.add(floor);

  // From the right, a little ahead and above.
  const side = Math.abs(up.z) < 0.9 ? new THREE.Vector3(0, 0, 1) : new THREE.Vector3(0, -1, 0);
  const ahead = up.clone().cross(side);
  const height = highest - lowest;
  const middle = centre(0).addScaledVector(up, (lowest + highest) / 2 - centre(0).dot(up));
  camera.up.copy(up);
  const controls = new THREE.OrbitControls(camera, canvas);
  controls.enablePan = false;
  controls.target.copy(middle);
  controls.addEventListener("change", () => draw());

  const kinds = [...root.querySelectorAll("[data-kind]")];
  const kindOf = (label) => (label.tagName === "SELECT" ? label.value : label.dataset.kind);

  // Where the picture of a kind is on the canvas (CSS px).
  function part(number) {
    const width = canvas.clientWidth / kinds.length;
    return { left: number * width, width, height: canvas.clientHeight };
  }

  function draw() {
    const { clientWidth, clientHeight } = canvas;
    renderer.setScissorTest(true);
    kinds.forEach((label, number) => {
      const { left, width } = part(number);
      renderer.setViewport(left, 0, width, clientHeight);
      renderer.setScissor(left, 0, width, clientHeight);
      camera.aspect = width / clientHeight;
      camera.updateProjectionMatrix();
      paint(kindOf(label));
      renderer.render(scene, camera);
    });
    root.querySelector("output").textContent = times[frame].toFixed(3) + " s";
    return clientWidth;
  }

  // As near as the whole body allows, at every time, from where the viewer stands.
  function stand() {
    const half = Math.tan((15 * Math.PI) / 180), narrow = canvas.clientWidth / kinds.length / canvas.clientHeight;
    const distance = Math.max((0.53 * height) / half, (1.03 * reach) / (half * Math.min(narrow, 1))) + 0.3 * reach;
    camera.position.sub(middle).setLength(distance).add(middle);
    controls.update();
  }

  let width = 0;
  function fit() {
    // Hidden for a moment, as while a page is printed.
    if (canvas.clientWidth === 0) return;
    renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    renderer.setSize(canvas.clientWidth, canvas.clientHeight, false);
    if (canvas.clientWidth !== width) {
      width = canvas.clientWidth;
      stand();
    }
    draw();
  }

  camera.position.copy(middle).addScaledVector(side, 0.9).addScaledVector(ahead, 0.4).addScaledVector(up, 0.12);

  function show(number) {
    frame = number;
    slider.value = String(number);
    pose();
    draw();
  }

  slider.addEventListener("input", () => clock.set(times[Number(slider.value)]));
  clock.listeners.push((time) => {
    let nearest = 0;
    for (let k = 1; k < frames; k++) if (Math.abs(times[k] - time) < Math.abs(times[nearest] - time)) nearest = k;
    show(nearest);
  });
  kinds.forEach((label) => label.addEventListener("change", draw));

  const play = root.querySelector("[data-play]");
  let playing = null;
  play.addEventListener("click", () => {
    if (playing !== null) {
      cancelAnimationFrame(playing);
      playing = null;
      play.textContent = "Play";
      return;
    }
    play.textContent = "Stop";
    let begun = performance.now() - 2000 * (times[frame] - times[0]);
    const step = (now) => {
      // At half the speed, again and again.
      let time = times[0] + (now - begun) / 2000;
      if (time > times[frames - 1]) { begun = now; time = times[0]; }
      clock.set(time);
      playing = requestAnimationFrame(step);
    };
    playing = requestAnimationFrame(step);
  });

  const explorer = explorers.find((one) => one.key === "muscles");
  explorer.listeners.push((name) => { chosen = name; pose(); draw(); });
  let pressed = null;
  canvas.addEventListener("pointerdown", (event) => { pressed = [event.offsetX, event.offsetY]; });
  canvas.addEventListener("pointerup", (event) => {
    if (pressed === null || Math.hypot(event.offsetX - pressed[0], event.offsetY - pressed[1]) > 4) return;
    const number = Math.min(Math.floor(event.offsetX / part(0).width), kinds.length - 1);
    const { left, width, height } = part(number);
    const eye = new THREE.Raycaster();
    eye.setFromCamera(new THREE.Vector2((2 * (event.offsetX - left)) / width - 1, 1 - (2 * event.offsetY) / height), camera);
    const hit = eye.intersectObject(flesh[0]).map((found) => explorer.names.indexOf(owner[found.instanceId].name)).find((found) => found >= 0);
    if (hit !== undefined) explorer.show(hit);
  });

  new ResizeObserver(fit).observe(canvas);
  chosen = explorer.names[0];
  show(0);
  // For tests, and for who looks into the console.
  report.muscleEnds = () => muscles.flatMap((muscle) => {
    const first = 3 * muscle.starts[frame], last = 3 * (muscle.starts[frame + 1] - 1);
    scene.updateMatrixWorld();
    return [first, last].map((k) => new THREE.Vector3(...muscle.points.slice(k, k + 3)).applyMatrix4(world.matrixWorld).project(camera).toArray().slice(0, 2));
  });
  report.colourOf = (kind, name) => {
    paint(kind);
    const found = new THREE.Color();
    flesh[0].getColorAt(muscles.find((muscle) => muscle.name === name).first, found);
    draw();
    return found.getHexString();
  };
})();

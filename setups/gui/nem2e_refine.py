"""Refine a CMC result from within the OpenSim GUI, and load it as a motion on the current model.

Open the model, then choose Scripts > Run... and this file. It asks for an existing setup file of STDRRefineTool, or
for a states file of CMC and where the gait cycles come from; then it runs the program 'opensim-nem2e' of an ordinary
Python environment (the GUI's own Python cannot load it), shows what the program says, and loads the refined states.
Muscles are coloured by the refined activations.

The program is looked for in this order: PROGRAM below; the environment variable OPENSIM_NEM2E_PROGRAM; the place that
was used last; the environment that this file is installed in; the PATH. If it is nowhere, you are asked, once.

To be asked nothing, give the answers beforehand in the scripting shell. 'setup_file' is an existing setup file; without
it, every other name is a property of STDRRefineTool ('opensim-nem2e info STDRRefineTool' explains them all):

    nem2e_answers = {"states_file": "C:/study/cmc/walk_states.sto", "external_loads_file": "C:/study/grf.xml",
                     "results_directory": "C:/study/refined"}
    execfile("C:/study/nem2e_refine.py")

To be asked again: del nem2e_answers
"""

# The GUI's Jython speaks Python 2.5: no 'with', no 'except ... as', no str.format, print with one argument only.
import re
import sys
import textwrap

from jarray import array
from java.awt import BorderLayout, Font, GraphicsEnvironment
from java.io import BufferedReader, File, FileInputStream, FileOutputStream, InputStreamReader, OutputStreamWriter
from java.lang import Object, ProcessBuilder, Runnable, String, System, Thread, Throwable
from java.util import ArrayList
from java.util.prefs import Preferences
from javax.swing import JButton, JFileChooser, JFrame, JOptionPane, JScrollPane, JTextArea, SwingUtilities
from javax.swing.filechooser import FileNameExtensionFilter

#: The program, or the folder of the Python environment that holds it; empty: look for it as described above.
PROGRAM = ""

_TITLE = "opensim-nem2e"
_LAST_LINES = 12
_CANCELLED = "Cancelled: nothing was run."


class NEM2EStop(Exception):
    """The script cannot go on; the text says why."""


class _Task(Runnable):
    """A function that Java can call."""

    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments

    def run(self):
        self.function(*self.arguments)


def _in_swing(function, *arguments):
    """Call a function where windows may be touched: in Swing's own thread, if there is one."""
    if GraphicsEnvironment.isHeadless() or SwingUtilities.isEventDispatchThread():
        function(*arguments)
    else:
        SwingUtilities.invokeAndWait(_Task(function, *arguments))


class NEM2ERefinement(object):
    """One refinement: what is asked, run and loaded.

    After the run, 'states_file' is the refined states file (or None), and 'error' what went wrong (or None).
    """

    def __init__(self, answers):
        self.answers = {}
        for name in answers:
            self.answers[name] = _text(answers[name])
        self.headless = GraphicsEnvironment.isHeadless()
        self.remembered = Preferences.userRoot().node("opensim_nem2e")
        self.model = getCurrentModel()
        self.window = None
        self.process = None
        self.cancelled = False
        self.lines = []
        self.states_file = None
        self.error = None

    def start(self):
        """Ask, then run: in the background where there are windows, so that the GUI stays alive."""
        _in_swing(self._ask)
        if self.error is not None:
            return
        if self.headless:
            self._run()
        else:
            thread = Thread(_Task(self._run), _TITLE)
            thread.setDaemon(True)
            thread.start()

    # --- what is asked -------------------------------------------------------------------------------------------

    def _ask(self):
        try:
            self.program = self._find_program()
            self.setup_file = self._find_setup()
            self._open_window()
        except NEM2EStop:
            self._fail(sys.exc_info()[1].args[0])

    def _find_program(self):
        """Return the program's path."""
        given = self.answers.get("program") or PROGRAM or System.getenv("OPENSIM_NEM2E_PROGRAM")
        if given:
            found = _program_in(given)
            if not found:
                raise NEM2EStop(_no_program(given))
            return found
        places = [self.remembered.get("program", "")]
        # Where pip puts this file: share/opensim-nem2e/gui of the environment. In a clone: beside the folder .venv.
        here = File(sys._getframe().f_code.co_filename).getAbsolutePath()
        folders = here.replace("\\", "/").split("/")
        places += ["/".join(folders[:-4]), "/".join(folders[:-3] + [".venv"])]
        places += (System.getenv("PATH") or "").split(File.pathSeparator)
        for place in places:
            found = place and _program_in(place)
            if found:
                return found
        self._need("the program 'opensim-nem2e'", "program")
        self._tell(
            "Where is the program opensim-nem2e?\n\nIn the next window, choose the program, or the folder of the\n"
            "Python environment in which it was installed. You will not be asked again."
        )
        chosen = self._choose("The program opensim-nem2e, or the folder of its Python environment", folders_too=True)
        found = _program_in(chosen)
        if not found:
            raise NEM2EStop(_no_program(chosen))
        return found

    def _find_setup(self):
        """Return the path of a setup file: an existing one, or one that is made from choices."""
        given = self.answers.get("setup_file")
        if given:
            if not File(given).isFile():
                raise NEM2EStop("There is no setup file '%s'." % given)
            return File(given).getAbsolutePath()
        if not self.answers.get("states_file"):
            self._need("a setup file or a states file", "setup_file' or 'states_file")
            options = ["CMC's states file...", "Existing setup file..."]
            if self._option("What do you want to refine?", options) == 1:
                return self._choose("Setup file of STDRRefineTool", "xml")
            self.answers["states_file"] = self._choose("States file that CMC has written (_states.sto)", "sto")
        if not File(self.answers["states_file"]).isFile():
            raise NEM2EStop("There is no states file '%s'." % self.answers["states_file"])
        self._ask_for_cycles()
        if not self.answers.get("results_directory"):
            self._need("a folder for the results", "results_directory")
            self.answers["results_directory"] = self._choose("Folder for the results", folders=True)
        return self._write_setup()

    def _ask_for_cycles(self):
        given = self.answers
        for name in ["external_loads_file", "events_file", "right_heel_strikes", "left_heel_strikes", "cycle_source"]:
            if given.get(name):
                return
        self._need("where the gait cycles come from", "external_loads_file")
        options = ["Ground reactions...", "Heel strikes...", "Table of events...", "The file is one cycle"]
        choice = self._option("Where do the gait cycles come from?", options)
        if choice == 0:
            given["external_loads_file"] = self._choose("External loads of the simulation (.xml)", "xml")
        elif choice == 1:
            for side in ["right", "left"]:
                question = "Times of successive %s heel strikes (s), separated by spaces:" % side
                times = JOptionPane.showInputDialog(None, question, _TITLE, JOptionPane.QUESTION_MESSAGE)
                if times is None:
                    raise NEM2EStop(_CANCELLED)
                given["%s_heel_strikes" % side] = times
        elif choice == 2:
            given["events_file"] = self._choose("Table of gait events", "csv")
        else:
            given["cycle_source"] = "whole_file"

    def _write_setup(self):
        """Write the setup file into the results folder, with absolute paths; return its path."""
        values = dict(self.answers)
        stem = re.sub(r"(_states)?\.\w+$", "", File(values["states_file"]).getName())
        for name in ["program", "setup_file"]:
            values.pop(name, None)
        name = values.pop("name", stem + "_refined")
        model_file = self.model is not None and self.model.getInputFileName()
        if model_file and File(model_file).isFile():
            values.setdefault("model_file", model_file)
        values.setdefault("write_figures", "true")
        text = '<?xml version="1.0" encoding="UTF-8" ?>\n<OpenSimDocument Version="40600">\n'
        text += '\t<STDRRefineTool name="%s">\n' % _escape(name)
        for key in sorted(values):
            value = values[key]
            if key == "results_directory" or (key.endswith("_file") and File(value).isFile()):
                value = File(value).getAbsolutePath()
            text += "\t\t<%s>%s</%s>\n" % (key, _escape(value), key)
        text += "\t</STDRRefineTool>\n</OpenSimDocument>\n"
        folder = File(values["results_directory"]).getAbsoluteFile()
        folder.mkdirs()
        path = File(folder, name + "_setup.xml").getPath()
        try:
            stream = OutputStreamWriter(FileOutputStream(path), "UTF-8")
            stream.write(text)
            stream.close()
        except Throwable:
            raise NEM2EStop("The setup file cannot be written: %s" % sys.exc_info()[1].getMessage())
        return path

    def _need(self, what, name):
        """Stop where nobody can be asked."""
        if self.headless:
            raise NEM2EStop("There is no screen to ask for %s: give '%s' in nem2e_answers." % (what, name))

    def _choose(self, title, suffix=None, folders=False, folders_too=False):
        start = self.answers.get("states_file") or (self.model is not None and self.model.getInputFileName()) or ""
        chooser = JFileChooser(File(start).getParentFile())
        chooser.setDialogTitle(title)
        if suffix:
            chooser.setFileFilter(FileNameExtensionFilter("*." + suffix, array([suffix], String)))
        if folders:
            chooser.setFileSelectionMode(JFileChooser.DIRECTORIES_ONLY)
        if folders_too:
            chooser.setFileSelectionMode(JFileChooser.FILES_AND_DIRECTORIES)
            chooser.setFileHidingEnabled(False)
        if chooser.showDialog(None, "Choose") != JFileChooser.APPROVE_OPTION:
            raise NEM2EStop(_CANCELLED)
        return chooser.getSelectedFile().getAbsolutePath()

    def _option(self, question, options):
        kind, icon = JOptionPane.DEFAULT_OPTION, JOptionPane.QUESTION_MESSAGE
        buttons = array(options, Object)
        choice = JOptionPane.showOptionDialog(None, question, _TITLE, kind, icon, None, buttons, options[0])
        if choice == JOptionPane.CLOSED_OPTION:
            raise NEM2EStop(_CANCELLED)
        return choice

    # --- what is run ---------------------------------------------------------------------------------------------

    def _run(self):
        """Run the program to its end, line by line. Its errors come on the same stream, so neither can block."""
        reason = None
        try:
            status = self._run_program()
        except Throwable:
            reason = sys.exc_info()[1].getMessage()
        if self.cancelled:
            _in_swing(self._fail, "Cancelled: there are no new results.")
        elif reason is not None:
            _in_swing(self._fail, "The program '%s' could not be run: %s" % (self.program, reason))
        elif status != 0:
            _in_swing(self._fail, self._explain(status))
        else:
            self.remembered.put("program", self.program)
            _in_swing(self._load)

    def _run_program(self):
        # Only the log says every file that was written.
        self.log_file = File.createTempFile("nem2e", ".log")
        self.log_file.deleteOnExit()
        command = ArrayList()
        for word in [self.program, "run", self.setup_file, "--log-file", self.log_file.getPath()]:
            command.add(word)
        builder = ProcessBuilder(command)
        builder.redirectErrorStream(True)
        builder.directory(File(self.setup_file).getParentFile())
        environment = builder.environment()
        environment.put("PYTHONIOENCODING", "utf-8")
        environment.put("PYTHONUNBUFFERED", "1")
        # The GUI's own libraries would take the place of the program's.
        for name in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME"]:
            environment.remove(name)
        self.process = builder.start()
        self.process.getOutputStream().close()
        output = BufferedReader(InputStreamReader(self.process.getInputStream(), "UTF-8"))
        line = output.readLine()
        while line is not None:
            self.lines.append(line)
            _in_swing(self._say, line)
            line = output.readLine()
        return self.process.waitFor()

    def _written(self):
        """Return the paths of the files that were written."""
        paths = []
        log = BufferedReader(InputStreamReader(FileInputStream(self.log_file), "UTF-8"))
        line = log.readLine()
        while line is not None:
            found = re.search(r"\] Writing '(.*)'\.$", line)
            if found:
                paths.append(found.group(1))
            line = log.readLine()
        log.close()
        return paths

    def _explain(self, status):
        """Put the program's failure into words, with its own error message, or else its last lines."""
        starts = [number for number in range(len(self.lines)) if self.lines[number].startswith("[error]")]
        last = self.lines[starts and starts[0] or 0 :][-_LAST_LINES:]
        said = "\n".join(last) or "nothing."
        return "The refinement failed (exit status %d). opensim-nem2e said:\n\n%s" % (status, said)

    # --- what is shown -------------------------------------------------------------------------------------------

    def _load(self):
        """Load the refined states as a motion."""
        for path in self._written():
            # walk_consistent_states.sto comes after walk_states.sto.
            if path.endswith("_states.sto") and self.states_file is None:
                self.states_file = path
        if self.states_file is None:
            self._finish("Done. There is no refined states file (only a states file of CMC has one): nothing to load.")
        elif self.model is None:
            self._finish("Done. Open the model, then load '%s' with File > Load Motion..." % self.states_file)
        else:
            self._say("Loading '%s' as a motion of %s." % (self.states_file, self.model.getName()))
            try:
                loadMotion(self.states_file)
            except Throwable:
                reason = sys.exc_info()[1].getMessage()
                self._fail("The refined states could not be loaded as a motion of this model: %s" % reason)
                return
            self._finish("Done. Play the motion: muscles are coloured by the refined activations.")

    def _open_window(self):
        if not self.headless:
            self.window = _ProgressWindow(self)
        self._say("Running '%s' with '%s'." % (self.program, self.setup_file))

    def _say(self, text):
        _print(text)
        if self.window is not None:
            self.window.append(text)

    def _tell(self, text):
        JOptionPane.showMessageDialog(None, text, _TITLE, JOptionPane.INFORMATION_MESSAGE)

    def _finish(self, text):
        self._say(text)
        if self.window is not None:
            self.window.finished()

    def _fail(self, text):
        self.error = text
        self._finish(text)
        if not self.headless and not text.startswith("Cancelled"):
            short = "\n".join([textwrap.fill(line, 120) for line in text.splitlines()])
            JOptionPane.showMessageDialog(None, short, _TITLE, JOptionPane.ERROR_MESSAGE)

    def cancel(self):
        """End the program. What it was writing is removed, and older results stay."""
        self.cancelled = True
        if self.process is not None:
            self.process.destroy()


class _ProgressWindow(object):
    """Shows what the program says while it runs, with a button to cancel it."""

    def __init__(self, refinement):
        self.running = True
        self.refinement = refinement
        self.area = JTextArea(24, 100)
        self.area.setEditable(False)
        self.area.setLineWrap(True)
        self.area.setWrapStyleWord(True)
        self.area.setFont(Font(Font.MONOSPACED, Font.PLAIN, 12))
        self.button = JButton("Cancel", actionPerformed=self.pressed)
        self.frame = JFrame(_TITLE)
        self.frame.setDefaultCloseOperation(JFrame.DISPOSE_ON_CLOSE)
        self.frame.add(JScrollPane(self.area), BorderLayout.CENTER)
        self.frame.add(self.button, BorderLayout.SOUTH)
        self.frame.pack()
        self.frame.setLocationRelativeTo(None)
        self.frame.setVisible(True)

    def append(self, text):
        self.area.append(text + "\n")
        self.area.setCaretPosition(self.area.getDocument().getLength())

    def finished(self):
        self.running = False
        self.button.setText("Close")

    def pressed(self, event):
        if self.running:
            self.refinement.cancel()
        else:
            self.frame.dispose()


def _program_in(place):
    """Return the program's path: 'place' is the program, or the folder of an environment; None if it is not there."""
    if File(place).isFile():
        return File(place).getAbsolutePath()
    for folder in ["", "bin", "Scripts"]:
        for name in ["opensim-nem2e", "opensim-nem2e.exe"]:
            file = File(File(place, folder), name)
            if file.isFile():
                return file.getAbsolutePath()
    return None


def _no_program(place):
    where = "It is in the folder 'bin' (Windows: 'Scripts') of the Python environment in which it was installed."
    return "There is no program opensim-nem2e at '%s'. %s" % (place, where)


def _text(value):
    """Return a value as the text of a property."""
    if isinstance(value, (list, tuple)):
        return " ".join([_text(item) for item in value])
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, (int, float)):
        value = repr(value)
    return String(value).toString()


def _escape(text):
    """Make a text fit for XML."""
    for sign, name in [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")]:
        text = text.replace(sign, name)
    return text


def _print(text):
    """Print to the scripting shell, whatever letters it knows."""
    try:
        print(text)
    except UnicodeError:
        print(text.encode("ascii", "replace"))


nem2e = NEM2ERefinement(globals().get("nem2e_answers", {}))
nem2e.start()
